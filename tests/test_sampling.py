"""Frame indices against the peers' own, and what must hold for any length."""

import json

import numpy as np
import pytest
from conftest import GOLDEN

from videoadapt.data.sampling import dense_indices, segment_indices

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


@pytest.mark.parametrize("num_frames", [1, 2, 3, 7, 8, 9, 31, 32, 100, 1999])
@pytest.mark.parametrize("clips", [1, 3])
def test_any_length_gives_indices_in_range(num_frames, clips):
    for rng in (None, np.random.default_rng(0)):
        for out_of_range in ("loop", "repeat_last"):
            dense = dense_indices(num_frames, 8, 4, clips, out_of_range=out_of_range, rng=rng)
            assert dense.shape == (clips, 8)
            assert dense.min() >= 0 and dense.max() < num_frames
        segment = segment_indices(num_frames, 8, clips, rng=rng)
        assert segment.shape == (clips, 8) and segment.dtype == np.int64
        assert segment.min() >= 0 and segment.max() < num_frames
        assert (np.diff(segment, axis=1) >= 0).all()


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
