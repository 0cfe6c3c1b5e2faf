"""Samples depend on (seed, epoch, index) alone; every test view is where it should be."""

import numpy as np
import pytest
import torch
from conftest import encode, numbered_frames, read_number

from videoadapt.config import DataConfig
from videoadapt.data.datasets import TestVideos, TrainVideos
from videoadapt.data.lists import Record
from videoadapt.data.loaders import TrainBatches, test_loader, train_loader
from videoadapt.data.sampling import dense_indices, segment_indices
from videoadapt.data.transforms import TestTransform, TrainTransform, crop_corners
from videoadapt.data.views import Views
from videoadapt.demo.motions import CLASSES, write_motion_videos
from videoadapt.video.decode.pyav import PyavVideo
from videoadapt.video.reader import VideoReader

TestVideos.__test__ = TestTransform.__test__ = test_loader.__test__ = False


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for number in range(6):
        encode(folder / f"{number}.mp4", numbered_frames(30 + number), "libx264", crf="10", preset="ultrafast")
    return folder


def _train(root, records, **reader):
    transform = TrainTransform(32, scale=(0.3, 1.0), ratio=(0.75, 1.33), flip=0.5)
    return TrainVideos(records, VideoReader(str(root), "pyav", **reader), _dense, transform, seed=7)


def _dense(num_frames, rng=None):
    return dense_indices(num_frames, 4, 2, clips=1, rng=rng)


RECORDS = [Record(f"{number}.mp4", number % 3) for number in range(6)]


def test_a_sample_is_a_function_of_epoch_and_index(root):
    one, other = _train(root, RECORDS), _train(root, RECORDS)
    torch.manual_seed(1)
    first = [one[0, index] for index in range(6)]
    torch.manual_seed(2)
    again = [other[0, index] for index in reversed(range(6))][::-1]
    assert all(torch.equal(a.views, b.views) and a.label == b.label for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a.views, one[1, a.index].views) for a in first)
    assert first[0].views.shape == (1, 3, 4, 32, 32) and first[0].views.dtype == torch.uint8


def test_keeping_decoded_videos_in_memory_changes_nothing(root):
    plain, cached = _train(root, RECORDS), _train(root, RECORDS, in_memory=True)
    for epoch in range(2):
        assert all(torch.equal(plain[epoch, i].views, cached[epoch, i].views) for i in range(6))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_change_nothing(root, start):
    videos = _train(root, RECORDS)
    batches = TrainBatches(6, 3, seed=0)
    alone = [sample for batch in train_loader(videos, batches, workers=0) for sample in batch]
    loader = train_loader(videos, batches, workers=2)
    loader.multiprocessing_context = start
    shared = [sample for batch in loader for sample in batch]
    assert [s.index for s in alone] == [s.index for s in shared]
    assert all(torch.equal(a.views, b.views) for a, b in zip(alone, shared, strict=True))


def test_one_clip_is_cropped_and_flipped_as_a_whole():
    frames = torch.arange(40 * 40, dtype=torch.uint8).view(1, 1, 40, 40).expand(4, 3, -1, -1)
    out = TrainTransform(16, scale=(0.2, 0.5), ratio=(0.8, 1.2), flip=0.5)(frames)
    assert all(torch.equal(out[0], out[i]) for i in range(4))


def test_an_unreadable_training_video_is_named_and_replaced_the_same_way_every_time(root):
    (root / "bad.mp4").write_bytes(b"no video")
    records = [*RECORDS, Record("bad.mp4", 0)]
    sample, again = _train(root, records)[0, 6], _train(root, records)[0, 6]
    assert "bad.mp4: not a readable video" in sample.unreadable[0]
    assert sample.index == 6 and torch.equal(sample.views, again.views)
    hopeless = _train(root, [Record("bad.mp4", 0)])[0, 0]
    assert hopeless.views is None and len(hopeless.unreadable) == 10


def test_every_rank_sees_its_own_videos_and_every_epoch_another_order():
    ranks = [TrainBatches(11, 2, seed=3, rank=rank, world=2) for rank in range(2)]
    epochs = []
    for epoch in range(2):
        for rank in ranks:
            rank.seek(epoch)
        batches = [list(rank) for rank in ranks]
        assert [len(part) for part in batches] == [2, 2] == [len(rank) for rank in ranks]
        keys = [key for part in batches for batch in part for key in batch]
        assert len(set(keys)) == 8 and {epoch} == {key[0] for key in keys}
        epochs.append([key[1] for key in keys])
    assert epochs[0] != epochs[1]


def test_an_epoch_may_begin_at_any_batch():
    batches = TrainBatches(11, 2, seed=3)
    batches.seek(4)
    whole = list(batches)
    for first in range(len(batches) + 1):
        batches.seek(4, first)
        assert list(batches) == whole[first:] and len(batches) == 5


def test_the_global_batch_does_not_depend_on_the_number_of_ranks():
    alone = [sorted(batch) for batch in TrainBatches(12, 4, seed=1)]
    halves = [list(TrainBatches(12, 2, seed=1, rank=rank, world=2)) for rank in range(2)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == alone


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_ranks_share_the_test_videos_without_padding(root, world):
    videos = TestVideos(RECORDS, VideoReader(str(root), "pyav"), _dense, TestTransform(32, 32, 1))
    seen = [s.index for rank in range(world) for s in test_loader(videos, 0, rank, world)]
    assert sorted(seen) == list(range(6))


# --- views


def test_views_are_written_frames_clips_crops():
    views = Views.parse("32x3x1")
    assert (views.frames, views.clips, views.crops, str(views)) == (32, 3, 1, "32x3x1")


CROPS = {
    ("wide", 3): (224, 299, 224, [(0, 0), (0, 37), (0, 75)]),
    ("odd", 3): (225, 397, 224, [(0, 0), (0, 86), (0, 173)]),
    ("tall", 3): (398, 224, 224, [(0, 0), (87, 0), (174, 0)]),
    ("wide", 1): (256, 340, 224, [(16, 58)]),
    ("square", 3): (224, 224, 224, [(0, 0)] * 3),
}


@pytest.mark.parametrize(("case", "row"), CROPS.items())
def test_crops_are_left_centre_right_or_top_centre_bottom(case, row):
    height, width, size, expected = row
    assert crop_corners(height, width, size, case[1]) == expected


def test_all_views_come_from_one_decode_of_each_frame(root, monkeypatch):
    asked = []
    plain = PyavVideo.frames
    monkeypatch.setattr(PyavVideo, "frames", lambda video, wanted: (asked.extend(wanted), plain(video, wanted))[1])
    indices = np.array([[0, 5, 5], [5, 7, 0]])
    frames, rows, decoder = VideoReader(str(root)).clips("0.mp4", lambda num_frames: indices)
    assert asked == [0, 5, 7] and decoder == "pyav"
    assert [[read_number(frame.permute(1, 2, 0).numpy()) for frame in frames[row]] for row in rows] == indices.tolist()


def test_test_views_hold_the_right_frames_and_crops(root):
    indices = lambda num_frames: segment_indices(num_frames, 3, clips=2)  # noqa: E731
    videos = TestVideos(RECORDS, VideoReader(str(root), "pyav"), indices, TestTransform(48, 48, 3))
    sample = videos[1]
    views = sample.views()
    assert views.shape == (6, 3, 3, 48, 48)
    assert sample.frames.shape == (6, 3, 48, 64) and len(sample.windows) == 3  # what leaves the worker
    expected = segment_indices(31, 3, clips=2)
    whole = np.stack(numbered_frames(31)).transpose(0, 3, 1, 2)
    for view in range(6):
        clip, crop = divmod(view, 3)
        left = (0, 8, 16)[crop]
        pixels = whole[expected[clip]][..., left : left + 48].transpose(1, 0, 2, 3)
        assert np.abs(views[view].numpy().astype(int) - pixels).mean() < 8


# --- the demonstration videos


def test_the_demo_set_hides_the_class_in_the_order_of_the_frames(tmp_path):
    write_motion_videos(tmp_path, train_per_class=2, val_per_class=1, seed=0)
    assert (tmp_path / "classes.txt").read_text().splitlines() == list(CLASSES)
    lines = (tmp_path / "train.csv").read_text().splitlines()
    assert lines[:2] == ["path,label", "videos/train_0000.mp4,0"] and len(lines) == 17
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 24
    reader = VideoReader(str(tmp_path), "pyav")
    frames, _, _ = reader.clips("videos/train_0000.mp4", lambda n: np.arange(n)[None])
    assert frames.shape == (24, 3, 72, 72)
    again = tmp_path / "again"
    write_motion_videos(again, 2, 1, seed=0)
    assert (again / "videos/val_0003.mp4").read_bytes() == (tmp_path / "videos/val_0003.mp4").read_bytes()


def test_reading_numbers_is_possible_at_all():
    assert [read_number(frame) for frame in numbered_frames(256)] == list(range(256))


@pytest.mark.parametrize("sampling", ["dense", "segment"])
def test_the_config_reaches_the_indices(sampling):
    from videoadapt.builders.data import _indices

    data = DataConfig(num_classes=2, sampling=sampling, stride=3, spacing="centers")
    indices = _indices(data, clip_len=4, clips=2)(50)
    expected = dense_indices(50, 4, 3, 2, spacing="centers") if sampling == "dense" else segment_indices(50, 4, 2)
    assert indices.tolist() == expected.tolist()


def _transform(**options):
    return TrainTransform(32, scale=(1.0, 1.0), ratio=(1.0, 1.0), **options)


def test_squash_shows_the_whole_frame():
    frames = torch.zeros(2, 3, 40, 80, dtype=torch.uint8)
    frames[..., 60:] = 255
    for out in (_transform(squash=True)(frames), TestTransform(32, 32, 1, squash=True)(frames)[0]):
        assert out.shape == (2, 3, 32, 32)
        assert (out[..., :23] == 0).all() and (out[..., 25:] == 255).all()


def test_rand_augment_treats_all_frames_alike():
    still = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8).expand(5, -1, -1, -1)
    outs = [_transform(rand_augment=(4, 7))(still) for _ in range(20)]
    assert all(torch.equal(out, out[:1].expand_as(out)) for out in outs)
    assert sum(not torch.equal(out, still) for out in outs) > 15


def test_erasing_paints_one_box_over_all_frames_with_the_mean():
    frames = torch.full((4, 3, 32, 32), 200, dtype=torch.uint8)
    out = _transform(erasing=1.0, mean=(0.0, 0.5, 1.0))(frames)
    box = (out != 200).any(1)
    assert box[0].any() and torch.equal(box, box[:1].expand_as(box))
    assert [out[0, channel][box[0]].unique().tolist() for channel in range(3)] == [[0], [128], [255]]
    assert torch.equal(_transform(erasing=0.0)(frames), frames)
