"""How batches come: read ahead, by workers that end with their work, and how long a training waits for them."""

import logging
import multiprocessing
from dataclasses import replace

import joblib
import numpy as np
import pytest
import torch
from conftest import encode, numbered_frames

from videoadapt import builders
from videoadapt.config import WITHOUT_EFFECT, Config
from videoadapt.data.views import Views, plan
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.waiting import Waiting
from videoadapt.video.reader import VideoReader, take

CPU = Ranks(torch.device("cpu"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("feeding")
    for number in range(4):
        encode(folder / f"{number}.mp4", numbered_frames(20), "libx264", preset="ultrafast")
    (folder / "list.csv").write_text("path,label\n" + "".join(f"{n}.mp4,{n % 2}\n" for n in range(4)))
    return folder


def _config(root, frames=4, **data):
    lists = {"train": str(root / "list.csv"), "val": str(root / "list.csv"), "root": str(root)}
    data = {"num_classes": 2, "workers": 2, **lists, **data}
    return Config.model_validate({"model": {"num_frames": frames}, "data": data, "optim": {"batch_size": 2}})


# --- what is read is not copied once more


@pytest.mark.parametrize("wanted", [range(12), [0, 2, 1], [0, 0, 1, 2], [1, 2], range(3)])
def test_frames_are_taken_without_a_copy_where_all_are_wanted(wanted):
    frames = torch.randint(0, 256, (12 if len(wanted) == 12 else 3, 4, 5, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    places = torch.tensor(list(wanted))
    taken = take(frames, places)
    assert torch.equal(taken, frames[places]) and taken.stride() == frames[places].stride()
    assert (taken is frames) == (list(wanted) == list(range(len(frames))))


def test_frames_that_are_kept_are_never_handed_out_themselves(root):
    """A worker would move all that it keeps into shared memory, video by video."""
    reader = VideoReader(str(root), in_memory=True)
    first = reader.clips("0.mp4", lambda count: np.arange(count)[None]).frames
    first.zero_()
    assert reader.clips("0.mp4", lambda count: np.arange(count)[None]).frames.any()


# --- workers


@pytest.mark.parametrize(("workers", "prefetch", "expected"), [(0, 2, None), (0, 5, None), (2, 2, 2), (1, 5, 5)])
def test_each_worker_reads_ahead_as_far_as_the_config_says(root, workers, prefetch, expected):
    config = _config(root, workers=workers, prefetch=prefetch)
    loaders = (
        builders.build_train_loader(config, CPU),
        builders.build_test_loader(config, "val", plan([Views(4)]), CPU),
        builders.build_file_loader(config, [f"{root}/0.mp4"] * 9, Views(4)),
    )
    assert [loader.prefetch_factor for loader in loaders] == [expected] * 3
    assert "prefetch" in WITHOUT_EFFECT and "augment_on" not in WITHOUT_EFFECT


@pytest.mark.parametrize("kept", [False, True])
def test_validation_has_workers_only_while_it_runs(root, kept):
    """Unless they keep the decoded videos for the next one."""
    loader = builders.build_test_loader(_config(root, cache_frames=kept), "val", plan([Views(4)]), CPU)
    before = set(multiprocessing.active_children())
    found = []
    for _ in range(2):
        passes = iter(loader)
        found.append([next(passes).views()])
        assert len(set(multiprocessing.active_children()) - before) == 2
        found[-1] += [sample.views() for sample in passes]
        del passes
        assert len(set(multiprocessing.active_children()) - before) == (2 if kept else 0)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True)) and len(found[0]) == 4


# --- how long a training waits


class _Clock:
    """Tells the time that has been let pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _batches(clock, seconds):
    for number, wait in enumerate(seconds):
        clock.now += wait
        yield number


def _run(waiting, clock, waits, step, every):
    """The shares of an epoch whose batches come after ``waits``, each followed by a step; logged ``every`` steps."""
    shares = []
    for number in waiting.over(_batches(clock, waits)):
        clock.now += step
        if (number + 1) % every == 0:
            shares.append(waiting.share())
    return shares


def test_the_share_is_that_of_the_time_since_the_last_log():
    clock = _Clock()
    waiting = Waiting(clock=clock)
    assert _run(waiting, clock, [50, 1, 1, 1, 0, 0], step=1, every=2) == pytest.approx([1 / 3, 1 / 2, 0])
    clock.now += 1000  # an evaluation
    assert _run(waiting, clock, [3, 0], step=1, every=2) == pytest.approx([3 / 5])  # an epoch begins with a wait
    assert Waiting(clock=clock).share() == 0


def _said(caplog):
    return [record.message for record in caplog.records if record.name == "videoadapt.engine.waiting"]


@pytest.mark.parametrize(
    ("wait", "step", "batches", "told"),
    [(1, 1, 100, "49 %"), (0.3, 1, 100, "23 %"), (0.24, 1, 200, None), (1, 1, 20, None), (0, 0, 50, None)],
)
def test_much_waiting_is_told_once_with_what_to_do(caplog, wait, step, batches, told):
    clock = _Clock()
    waiting = Waiting("do this", clock)
    for _ in range(3 if told else 1):
        _run(waiting, clock, [wait] * batches, step, every=1)
    message = f"the training waits for its data {told} of the time; do this"
    assert _said(caplog) == ([message] if told else [])


def test_nothing_is_told_without_a_remedy_nor_of_the_start_of_the_workers(caplog):
    clock = _Clock()
    with caplog.at_level(logging.WARNING):
        _run(Waiting(None, clock), clock, [1] * 100, step=1, every=1)
        _run(Waiting("do this", clock), clock, [500, *[0] * 99], step=1, every=1)
    assert not _said(caplog)


GPU = Ranks(torch.device("cuda"))
REMEDIES = [
    (GPU, {"workers": 3}, "data.workers=8 would use every core, now it is 3"),
    (GPU, {}, "data.cache_dir=FOLDER with data.short_side=256 would keep small copies"),
    (GPU, {"cache_dir": "copies", "rand_augment": [4, 7]}, "data.short_side=256 would make the copies"),
    (GPU, {"cache_dir": "copies", "short_side": 256, "rand_augment": [4, 7]}, "data.augment_on=device would"),
    (GPU, {"frames": None, "erasing": 0.2}, "data.augment_on=device would"),
    (GPU, {"cache_dir": "copies", "short_side": 256, "rand_augment": [4, 7], "augment_on": "device"}, "more cores or"),
]


@pytest.mark.parametrize(("ranks", "data", "remedy"), REMEDIES, ids=[row[2] for row in REMEDIES])
def test_the_remedy_fits_the_config(root, monkeypatch, ranks, data, remedy):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    config = _config(root, **{"workers": "auto", **data})
    assert builders.data_remedy(config, ranks).startswith(remedy)
    assert builders.data_remedy(config, replace(ranks, rank=1, world=2)) is None
    assert builders.data_remedy(config, CPU) is None
