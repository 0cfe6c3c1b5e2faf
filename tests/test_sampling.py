"""Frame indices against the peers' own, and what must hold for any length."""

import json
import math

import numpy as np
import pytest
from conftest import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

from videoadapt.data.loaders import TrainBatches, test_loader
from videoadapt.data.sampling import dense_indices, segment_indices
from videoadapt.data.transforms import crop_corners

test_loader.__test__ = False

GOLDENS = json.loads((GOLDEN / "sampling.json").read_text())


@pytest.mark.parametrize("spacing", ["endpoints", "centers"])
@pytest.mark.parametrize("case", GOLDENS["dense"], ids=lambda c: f"{c['N']}-{c['L']}x{c['s']}x{c['K']}")
def test_dense_equals_mmaction2_and_aim(case, spacing):
    indices = dense_indices(case["N"], case["L"], case["s"], case["K"], spacing=spacing, out_of_range="loop")
    assert indices.dtype == np.int64
    assert indices.tolist() == case[spacing]


@pytest.mark.parametrize("case", GOLDENS["segment"], ids=lambda c: f"{c['N']}-{c['T']}")
def test_segment_equals_aim(case):
    assert segment_indices(case["N"], case["T"]).tolist() == [case["indices"]]


@pytest.mark.parametrize(
    ("clip", "expected"), [(0, [2, 14, 27, 39, 52, 64, 76, 89]), (3, [9, 21, 34, 46, 59, 71, 83, 96])]
)
def test_several_segment_clips_equal_mmaction2(clip, expected):
    assert segment_indices(100, 8, clips=4)[clip].tolist() == expected


@pytest.mark.parametrize(
    ("out_of_range", "expected"), [("loop", [0, 2, 4, 1, 3, 0]), ("repeat_last", [0, 2, 4, 4, 4, 4])]
)
def test_clips_longer_than_the_video(out_of_range, expected):
    assert dense_indices(5, 6, 2, out_of_range=out_of_range).tolist() == [expected]


LENGTHS = st.integers(1, 2000)
CLIPS = st.integers(1, 10)
SEEDS = st.none() | st.integers(0, 2**32)
quick = settings(max_examples=150, deadline=None, derandomize=True)


def _rng(seed):
    return None if seed is None else np.random.default_rng(seed)


@quick
@given(
    num_frames=LENGTHS,
    clip_len=st.integers(1, 64),
    stride=st.integers(1, 16),
    clips=CLIPS,
    spacing=st.sampled_from(["endpoints", "centers"]),
    out_of_range=st.sampled_from(["loop", "repeat_last"]),
    seed=SEEDS,
)
def test_dense_clips_of_any_video(num_frames, clip_len, stride, clips, spacing, out_of_range, seed):
    arguments = num_frames, clip_len, stride, clips, spacing, out_of_range
    indices = dense_indices(*arguments, rng=_rng(seed))
    assert indices.shape == (clips, clip_len) and indices.dtype == np.int64
    assert indices.min() >= 0 and indices.max() < num_frames
    assert np.array_equal(indices, dense_indices(*arguments, rng=_rng(seed)))
    assert (np.diff(indices[:, 0]) >= 0).all()
    if num_frames >= clip_len * stride:
        assert (np.diff(indices, axis=1) == stride).all()
    elif out_of_range == "repeat_last":
        assert (np.diff(indices, axis=1) >= 0).all()


@quick
@given(num_frames=LENGTHS, clip_len=st.integers(1, 64), clips=CLIPS, seed=SEEDS)
def test_segment_clips_of_any_video(num_frames, clip_len, clips, seed):
    indices = segment_indices(num_frames, clip_len, clips, rng=_rng(seed))
    assert indices.shape == (clips, clip_len) and indices.dtype == np.int64
    assert indices.min() >= 0 and indices.max() < num_frames
    assert np.array_equal(indices, segment_indices(num_frames, clip_len, clips, rng=_rng(seed)))
    assert (np.diff(indices, axis=1) >= 0).all()
    assert indices[:, 0].max() <= math.ceil((num_frames - 1) / clip_len)
    assert indices[:, -1].min() >= math.floor((num_frames - 1) * (clip_len - 1) / clip_len)


@quick
@given(height=st.integers(1, 500), width=st.integers(1, 500), crops=st.sampled_from([1, 3]))
def test_crops_of_any_picture_lie_inside_and_reach_both_ends(height, width, crops):
    size = min(height, width)
    corners = crop_corners(height, width, size, crops)
    assert len(corners) == crops
    assert all(0 <= top <= height - size and 0 <= left <= width - size for top, left in corners)
    if crops == 3:
        assert corners[0] == (0, 0) and corners[2] == (height - size, width - size)


@quick
@given(num_videos=st.integers(1, 200), world=st.integers(1, 9), group=st.integers(1, 9))
def test_any_number_of_ranks_tests_each_video_once_and_keeps_groups_together(num_videos, world, group):
    shares = [list(test_loader(range(num_videos), 0, rank, world, group).sampler) for rank in range(world)]
    assert sorted(index for share in shares for index in share) == list(range(num_videos))
    assert all(share == sorted(share) for share in shares)
    owners = [{index // group for index in share} for share in shares]
    assert sum(map(len, owners)) == len(set().union(*owners))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= group


@quick
@given(num_videos=st.integers(1, 200), batch=st.integers(1, 8), world=st.integers(1, 5), seed=st.integers(0, 99))
def test_any_number_of_ranks_trains_on_the_same_global_batches(num_videos, batch, world, seed):
    alone = [sorted(keys) for keys in TrainBatches(num_videos, batch * world, seed)]
    ranks = [list(TrainBatches(num_videos, batch, seed, rank, world)) for rank in range(world)]
    assert [sorted(key for keys in step for key in keys) for step in zip(*ranks, strict=True)] == alone


def test_random_clips_follow_the_generator_and_reach_both_ends():
    draws = [dense_indices(40, 8, 4, rng=np.random.default_rng(seed))[0] for seed in range(200)]
    assert draws[3].tolist() == dense_indices(40, 8, 4, rng=np.random.default_rng(3))[0].tolist()
    starts = {int(draw[0]) for draw in draws}
    assert starts == set(range(9))  # 0 to num_frames - clip_len * stride
    assert all((np.diff(draw) == 4).all() for draw in draws)
    segments = np.stack([segment_indices(41, 8, rng=np.random.default_rng(seed))[0] for seed in range(200)])
    assert segments.min(0).tolist() == [0, 5, 10, 15, 20, 25, 30, 35]
    assert segments.max(0).tolist() == [5, 10, 15, 20, 25, 30, 35, 40]


@pytest.mark.parametrize("arguments", [(0, 8, 1), (8, 0, 1), (8, 8, 1, 0)])
def test_nothing_to_sample_is_an_error(arguments):
    with pytest.raises(ValueError, match="no indices"):
        dense_indices(*arguments)
