"""Reading as a whole: sizes, cached copies, workers of any kind, and pytorchvideo's loops."""

import gc
import logging
import math
import multiprocessing
from fractions import Fraction

import joblib
import numpy as np
import pytest
import torch
from conftest import encode, numbered_frames, read_number
from pytorchvideo.data.clip_sampling import make_clip_sampler
from pytorchvideo.data.encoded_video import EncodedVideo
from torch.utils.data import DataLoader, SequentialSampler

from videoadapt.builders.data import build_test_loader, build_train_loader
from videoadapt.config import Config
from videoadapt.data.datasets import TestVideos
from videoadapt.data.lists import Record
from videoadapt.data.loaders import auto_workers, test_loader
from videoadapt.data.pytorchvideo import labeled_videos
from videoadapt.data.sampling import segment_indices
from videoadapt.data.transforms import TestTransform
from videoadapt.data.views import Views, plan
from videoadapt.engine.distributed import Ranks
from videoadapt.errors import UserError
from videoadapt.video import open_video
from videoadapt.video.cache import VideoCache
from videoadapt.video.decode.pyav import PyavVideo
from videoadapt.video.reader import VideoReader
from videoadapt.video.resize import resize_short_side
from videoadapt.video.store import open_store

TestVideos.__test__ = TestTransform.__test__ = test_loader.__test__ = False
COUNT = 40


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reading")
    for number in range(4):
        frames = numbered_frames(COUNT, 64 + 2 * number, 96)
        encode(folder / f"{number}.mp4", frames, "libx264", b_frames=2, crf="10", preset="veryfast")
    return folder


def _whole(count):
    return np.arange(count)[None]


@pytest.mark.parametrize("pixels", [32, 64, 100])
def test_frames_come_at_the_size_that_was_asked_for(root, pixels):
    native = VideoReader(str(root)).clips("1.mp4", _whole).frames
    small = VideoReader(str(root), short_side=pixels).clips("1.mp4", _whole).frames
    assert torch.equal(small, resize_short_side(native, pixels)) and min(small.shape[-2:]) == pixels


def test_all_in_one_pass_whatever_the_piece(root, monkeypatch):
    begun = []
    plain = PyavVideo._decode_from
    monkeypatch.setattr(PyavVideo, "_decode_from", lambda video, *a, **k: begun.append(a) or plain(video, *a, **k))
    frames = VideoReader(str(root)).clips("0.mp4", _whole).frames
    assert [read_number(frame.permute(1, 2, 0).numpy()) for frame in frames] == list(range(COUNT))
    assert len(begun) == 1


# --- copies on disk


def _file(cache, path):
    """The file that is read for a video."""
    with cache(open_store(str(path.parent)), path.name) as file:
        return file


def test_a_copy_shows_the_same_frames_at_its_size(root, tmp_path):
    cache = VideoCache(tmp_path / "copies", short_side=48)
    plain = VideoReader(str(root), short_side=48)
    cached = VideoReader(str(root), short_side=48, cache=cache)
    for name in ("0.mp4", "1.mp4"):
        original, copy = plain.clips(name, _whole).frames, cached.clips(name, _whole).frames
        assert len(copy) == COUNT and min(copy.shape[-2:]) == 48
        error = (copy[..., :48, :64].double() - original[..., :48, :64].double()).square().mean()
        assert 10 * math.log10(255**2 / error) > 28
        assert [read_number(frame.permute(1, 2, 0).numpy()) for frame in copy] == list(range(COUNT))


def test_a_copy_is_made_once_and_again_when_the_original_changes(tmp_path):
    path = encode(tmp_path / "a.mp4", numbered_frames(8), "libx264", preset="ultrafast")
    cache = VideoCache(tmp_path / "copies", short_side=32)
    first = _file(cache, path)
    made = first.stat().st_mtime_ns
    assert _file(cache, path) == first and first.stat().st_mtime_ns == made
    encode(path, numbered_frames(9), "libx264", preset="ultrafast")
    second = _file(cache, path)
    assert second != first
    with open_video(second) as video:
        assert video.num_frames == 9
    assert _file(VideoCache(tmp_path / "copies", short_side=24), path) != second


def test_what_cannot_be_copied_is_read_as_it_is(tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    (tmp_path / "a.png").write_bytes(b"")
    cache = VideoCache(tmp_path / "copies")
    for name in ("bad.mp4", "a.png", "missing.mp4"):
        assert _file(cache, tmp_path / name) == tmp_path / name
    assert not list((tmp_path / "copies").glob("*"))
    (tmp_path / "bad.mp4").unlink()
    encode(tmp_path / "bad.mp4", numbered_frames(8), "libx264", preset="ultrafast")
    assert _file(cache, tmp_path / "bad.mp4") == tmp_path / "bad.mp4"  # it is not tried again in every epoch
    assert _file(VideoCache(tmp_path / "copies"), tmp_path / "bad.mp4").parent == tmp_path / "copies"


def test_a_folder_that_cannot_be_written_is_one_line(root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"data.cache_dir: cannot write into .*file"):
        _file(VideoCache(tmp_path / "file"), root / "0.mp4")


def _config(root, **data):
    (root / "list.csv").write_text("path,label\n" + "".join(f"{n}.mp4,{n % 2}\n" for n in range(4)))
    lists = {"train": str(root / "list.csv"), "val": str(root / "list.csv"), "root": str(root)}
    options = {"embed_dim": 64, "depth": 1, "num_heads": 4, "patch_size": 8, "img_size": 32}
    model = {"backbone": "vit_base_patch16_224", "backbone_options": options, "pretrained": "none", "num_frames": 4}
    data = {"num_classes": 2, "workers": 0, **lists, **data}
    return Config.model_validate({"model": model, "data": data, "optim": {"batch_size": 2}})


def test_training_and_validation_read_copies_and_tests_read_originals(root, tmp_path):
    config = _config(root, cache_dir=str(tmp_path / "copies"), short_side=48)
    ranks, views = Ranks(torch.device("cpu")), Views(4)
    list(build_test_loader(config, "test", plan([views]), ranks))
    assert not (tmp_path / "copies").exists()
    list(build_test_loader(config, "val", plan([views]), ranks))
    assert len(list((tmp_path / "copies").iterdir())) == 4
    reader = build_train_loader(config, ranks).dataset.reader
    assert reader.short_side == 48 and reader.clips("0.mp4", _whole).frames.shape[-2] == 48


# --- workers


@pytest.mark.parametrize(("cores", "ranks", "workers"), [(2, 1, 2), (2, 4, 1), (64, 1, 16), (64, 8, 8), (1, 1, 1)])
def test_workers_fill_the_cores_and_no_more(monkeypatch, cores, ranks, workers):
    monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
    assert auto_workers(ranks) == workers


def test_the_number_of_workers_reaches_the_loader(root):
    ranks = Ranks(torch.device("cpu"), local_world=1)
    loaders = {n: build_test_loader(_config(root, workers=n), "val", plan([Views(4)]), ranks) for n in (0, 3, "auto")}
    assert {n: loader.num_workers for n, loader in loaders.items()} == {0: 0, 3: 3, "auto": auto_workers()}


@pytest.mark.parametrize("backend", ["pyav", "decord"])
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_either_kind_read_the_same(root, backend, start):
    """Also when this process has used the decoder before."""
    reader = VideoReader(str(root), backend)
    videos = TestVideos([Record(f"{n}.mp4", 0) for n in range(4)], reader, _middle, TestTransform(48, 48, 3))
    alone = [videos[index].views() for index in range(4)]
    loader = test_loader(videos, workers=2)
    loader.multiprocessing_context = multiprocessing.get_context(start)
    samples = list(loader)
    assert [sample.decoder for sample in samples] == [backend] * 4
    assert all(torch.equal(a, sample.views()) for a, sample in zip(alone, samples, strict=True))


def _middle(count):
    return segment_indices(count, 4)


# --- pytorchvideo


SAMPLERS = {
    "random": ("random", Fraction(2, 5)),
    "uniform": ("uniform", Fraction(2, 5)),
    "constant": ("constant_clips_per_video", Fraction(2, 5), 3),
    "augmented": ("constant_clips_per_video", Fraction(2, 5), 2, 2),
}


def _clips(root, sampler, **options):
    records = [Record(f"{n}.mp4", n) for n in range(3)]
    torch.manual_seed(0)
    videos = labeled_videos(records, make_clip_sampler(*SAMPLERS[sampler]), root=str(root), **options)
    return list(videos)


@pytest.mark.parametrize(("sampler", "count"), [("random", 3), ("uniform", 12), ("constant", 9), ("augmented", 12)])
def test_its_clip_samplers_drive_our_decoding(root, sampler, count):
    clips = _clips(root, sampler, video_sampler=SequentialSampler)
    assert len(clips) == count
    for clip in clips:
        assert set(clip) == {"video", "video_name", "video_index", "clip_index", "aug_index", "label"}
        assert clip["video"].dtype == torch.float32 and clip["video"].shape[:2] == (3, 10)
        assert clip["video_name"] == f"{clip['label']}.mp4" and clip["video_index"] == clip["label"]


def test_a_clip_is_the_one_that_pytorchvideo_reads(root):
    path = str(root / "2.mp4")
    theirs = EncodedVideo.from_path(path, decode_audio=False)
    ours = labeled_videos([Record(path, 0)], make_clip_sampler("random", 1.0)).video_path_handler.video_from_path(path)
    assert float(ours.duration) == pytest.approx(float(theirs.duration))
    for start, end in [(0, Fraction(2, 5)), (0, 0.4), (Fraction(1, 3), 1), (0.45, 0.61), (1.4, 9)]:
        assert torch.equal(ours.get_clip(start, end)["video"], theirs.get_clip(start, end)["video"]), (start, end)
    for start, end in [(5, 6), (Fraction(1, 2), Fraction(13, 25))]:
        assert ours.get_clip(start, end)["video"] is None is theirs.get_clip(start, end)["video"]
    ours.close()
    theirs.close()
    del theirs  # it decodes in threads: a worker forked later, freeing its copy, would wait for them for ever
    gc.collect()


def test_only_the_frames_of_a_subsample_are_decoded(root):
    whole, part = _clips(root, "constant"), _clips(root, "constant", num_frames=4)
    for a, b in zip(whole, part, strict=True):
        assert torch.equal(a["video"][:, [0, 3, 6, 9]], b["video"])


def test_a_training_loop_gets_batches(root):
    records = [Record(f"{n % 3}.mp4", n) for n in range(6)]
    crop = lambda clip: {**clip, "video": clip["video"][..., :32, :32]}  # noqa: E731
    videos = labeled_videos(records, make_clip_sampler("random", 0.4), root=str(root), transform=crop, num_frames=4)
    batches = list(DataLoader(videos, batch_size=3, num_workers=2))
    assert sorted(label for batch in batches for label in batch["label"].tolist()) == list(range(6))
    assert all(batch["video"].shape[1:] == (3, 4, 32, 32) for batch in batches)


def test_unreadable_videos_are_named_and_passed_over(root, caplog):
    (root / "bad.mp4").write_text("no video")
    records = [Record("bad.mp4", 0), Record("0.mp4", 1)]
    videos = labeled_videos(records, make_clip_sampler("random", 0.4), root=str(root), video_sampler=SequentialSampler)
    with caplog.at_level(logging.WARNING):
        assert [clip["label"] for clip in videos] == [1]
    assert "unreadable, passed over: " in caplog.text and "bad.mp4: not a readable video" in caplog.text
