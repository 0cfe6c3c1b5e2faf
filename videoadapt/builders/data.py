"""Data sets and loaders of a config."""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import torch

from videoadapt.builders.model import model_input
from videoadapt.config import Config, DataConfig, check_views
from videoadapt.data.datasets import OnDevice, Sample, TestVideos, TrainVideos
from videoadapt.data.faults import other_form
from videoadapt.data.lists import Record, Records, read_list
from videoadapt.data.loaders import Loader, TrainBatches, auto_workers, cores, test_loader, train_loader
from videoadapt.data.sampling import dense_indices, segment_indices
from videoadapt.data.transforms import TestTransform, TrainTransform
from videoadapt.data.views import Plan, Views, plan
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.learner import as_they_are
from videoadapt.errors import UserError
from videoadapt.video import open_video, read_anew, require_backend
from videoadapt.video.cache import VideoCache
from videoadapt.video.reader import VideoReader
from videoadapt.video.store import Store, open_store

_FEW = 8  # files that are not worth starting workers for


def build_train_loader(config: Config, ranks: Ranks) -> Loader:
    """Random clips of ``data.train``, in batches of samples for this rank."""
    data = config.data
    records = _records(data, "train", check_files=ranks.local_rank == 0)
    indices = _indices(data, config.model.num_frames or 1, clips=1)
    reader = _reader(data, _store(data.root), data.short_side, _cache(data), data.cache_frames)
    transform = _train_transform(config) if data.augment_on == "worker" else None
    videos = TrainVideos(records, reader, indices, transform, config.run.seed)
    batches = TrainBatches(len(records), config.optim.batch_size, config.run.seed, ranks.rank, ranks.world)
    if len(batches) < config.optim.accumulate:
        share = config.optim.batch_size * ranks.world * config.optim.accumulate
        remedy = "lower optim.batch_size or optim.accumulate"
        raise UserError(f"{data.train}: {len(records)} videos are fewer than one global batch of {share}; {remedy}")
    return train_loader(videos, batches, _workers(data, ranks), data.stall_limit, data.prefetch)


def build_train_views(config: Config) -> Callable[[Sample, torch.device], torch.Tensor]:
    """What gives the views of a training sample on the device, (v c t h w) uint8, by ``data.augment_on``."""
    return as_they_are if config.data.augment_on == "worker" else OnDevice(_train_transform(config))


def data_remedy(config: Config, ranks: Ranks) -> str | None:
    """What to do about a GPU that waits for its data; None where another rank says it.

    On a CPU, reading and training share the cores: the wait says nothing.
    """
    if not ranks.is_main or ranks.device.type != "cuda":
        return None
    data, videos = config.data, config.model.num_frames is not None
    workers, most = _workers(data, ranks), cores(ranks.local_world)
    if workers < most:
        return f"data.workers={most} would use every core, now it is {workers}"
    if videos and not data.cache_dir:
        return "data.cache_dir=FOLDER with data.short_side=256 would keep small copies, which are read much faster"
    if videos and not data.short_side:
        return "data.short_side=256 would make the copies in data.cache_dir smaller"
    if data.augment_on == "worker" and (data.rand_augment or data.erasing):
        return "data.augment_on=device would change the pixels on the GPU"
    return "more cores or faster storage would help"


def build_test_loader(config: Config, split: str, views: Plan, ranks: Ranks) -> Loader:
    """All views of this rank's share of ``data.val`` or ``data.test`` (``val`` where there is no ``test``)."""
    data = config.data
    records = _records(data, split, check_files=config.test.on_bad == "error" and ranks.local_rank == 0)
    often = split == "val"  # in every evaluation of a training; a test reads each video once, and the originals
    copies, in_memory = (_cache(data), data.cache_frames) if often else (None, False)
    videos = TestVideos(records, *_test_reading(config, views, _store(data.root), copies, in_memory))
    return test_loader(
        videos,
        _workers(data, ranks),
        ranks.rank,
        ranks.world,
        config.test.batch_size,
        data.stall_limit,
        data.prefetch,
        persistent=in_memory,
    )


def build_file_loader(config: Config, paths: Sequence[str], views: Views) -> Loader:
    """All views of these files as a test of the config would see them, in order; every label is 0."""
    videos = TestVideos([Record(path, 0) for path in paths], *file_reading(config, views))
    workers = _workers(config.data, Ranks(torch.device("cpu"))) if len(paths) > _FEW else 0
    group, limit = config.test.batch_size, config.data.stall_limit
    return test_loader(videos, workers, group=group, stall_limit=limit, prefetch=config.data.prefetch)


def file_reading(config: Config, views: Views) -> tuple[VideoReader, Callable, TestTransform]:
    """How a test would read a file: the reader, which frames of so many, and what to cut of them."""
    return _test_reading(config, plan([views]), open_store("."), copies=None, in_memory=False)


def test_records(config: Config) -> Records:
    """What a test lists."""
    return _records(config.data, "test", check_files=False)


@read_anew
def middle_frame(data: DataConfig, path: str) -> np.ndarray:
    """The picture of a listed video that stands for it, (h w c) uint8; VideoReadError if there is none."""
    with _store(data.root).local(path) as file, open_video(file, data.decoder, data.time_limit) as video:
        return video.frames([video.num_frames // 2])[0]


def _test_reading(
    config: Config, views: Plan, store: Store, copies: VideoCache | None, in_memory: bool
) -> tuple[VideoReader, Callable, TestTransform]:
    """How a test reads a video, which frames it takes, and what it cuts of them."""
    data, size = config.data, model_input(config.model)["image_size"]
    squash, resize = data.fit == "squash", data.resize or size
    if resize < size:
        raise UserError(f"data.resize: {resize} is below the model's image size {size}")
    if squash and views.crops > 1:
        raise UserError(f"test.views: {views.crops} crops are asked for; data.fit: squash leaves one")
    reader = _reader(data, store, None if squash else resize, copies, in_memory)
    draws = [_indices(data, frames, clips) for frames, clips in views.draws]
    return reader, partial(_drawn, draws), TestTransform(size, resize, views.crops, squash)


def _drawn(draws: Sequence[Callable], num_frames: int) -> list[np.ndarray]:
    return [clip for draw in draws for clip in draw(num_frames)]


def test_views(config: Config) -> Views:
    """The protocol of ``test.views``; one centre view by default."""
    return Views.parse(config.test.views) if config.test.views else Views(config.model.num_frames or 1)


def parse_views(text: str) -> list[Views]:
    """One protocol or several, with commas between them."""
    try:
        return [Views.parse(check_views(part)) for part in dict.fromkeys(text.replace(" ", "").split(","))]
    except ValueError as error:
        raise UserError(f"views {text}: {error}") from None


def _records(data: DataConfig, split: str, check_files: bool) -> Records:
    path = getattr(data, split) or (data.val if split == "test" else None)
    if path is None:
        raise UserError(f"data.{split}: is missing; name a list file of lines 'path,label'")
    records, store = read_list(path, data.num_classes), _store(data.root)
    if not data.absolute_paths and (name := next((r.path for r in records if store.leaves(r.path)), None)):
        raise UserError(f"{path}: '{name}' leads out of data.root '{data.root}'; data.absolute_paths=true allows that")
    if check_files and (missing := store.missing(record.path for record in records)):
        where = f"the paths are relative to data.root{other_form(missing[0])}"
        raise UserError(
            f"{path}: {len(missing)} of {len(records)} videos are missing below '{data.root}', first: "
            f"{missing[0]}; {where}"
        )
    return records


@cache
def _store(root: str) -> Store:
    """Opened once for training and validation: the index of shards takes a while."""
    return open_store(root)


def _train_transform(config: Config) -> TrainTransform:
    data, spec = config.data, model_input(config.model)
    return TrainTransform(
        spec["image_size"],
        scale=(data.crop_scale[0], data.crop_scale[1]),
        ratio=(data.crop_ratio[0], data.crop_ratio[1]),
        flip=data.flip,
        squash=data.fit == "squash",
        rand_augment=(data.rand_augment[0], data.rand_augment[1]) if data.rand_augment else None,
        erasing=data.erasing,
        mean=spec["mean"],
    )


def _reader(
    data: DataConfig, store: Store, short_side: int | None, copies: VideoCache | None, in_memory: bool
) -> VideoReader:
    require_backend(data.decoder)
    return VideoReader(store, data.decoder, short_side, data.time_limit, in_memory, copies)


def _cache(data: DataConfig) -> VideoCache | None:
    return VideoCache(data.cache_dir, data.short_side) if data.cache_dir else None


def _workers(data: DataConfig, ranks: Ranks) -> int:
    return auto_workers(ranks.local_world) if data.workers == "auto" else data.workers


def _indices(data: DataConfig, clip_len: int, clips: int) -> Callable:
    if data.sampling == "segment":
        return partial(segment_indices, clip_len=clip_len, clips=clips)
    return partial(
        dense_indices,
        clip_len=clip_len,
        stride=data.stride,
        clips=clips,
        spacing=data.spacing,
        out_of_range=data.out_of_range,
    )
