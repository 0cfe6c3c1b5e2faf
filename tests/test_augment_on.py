"""Views made on the device are those that a worker makes."""

from itertools import pairwise

import pytest
import torch
from conftest import encode, numbered_frames

from videoadapt import builders
from videoadapt.config import Config
from videoadapt.data.datasets import OnDevice, Sample, TrainVideos, Uncut
from videoadapt.data.lists import Record
from videoadapt.data.loaders import TrainBatches, train_loader
from videoadapt.data.sampling import dense_indices
from videoadapt.data.transforms import TrainTransform
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.learner import as_they_are
from videoadapt.video.reader import VideoReader

CPU = torch.device("cpu")
SIZES = [(48, 64), (40, 96), (70, 56)]
RECORDS = [Record(f"{number}.mp4", number) for number in range(len(SIZES))]
CROP = {"scale": (0.2, 1.0), "ratio": (0.75, 1.33), "flip": 0.5}
TRANSFORMS = {
    "crop and flip": CROP,
    "RandAugment": {**CROP, "rand_augment": (4, 9)},
    "erasing": {**CROP, "erasing": 0.7, "mean": (0.1, 0.5, 0.9)},
    "squash": {**CROP, "squash": True, "rand_augment": (2, 9), "erasing": 0.5},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("augmented")
    for number, (height, width) in enumerate(SIZES):
        encode(folder / f"{number}.mp4", numbered_frames(9 + number, height, width), "libx264", preset="ultrafast")
    return folder


def _indices(num_frames, rng=None):
    return dense_indices(num_frames, 6, 2, clips=2, rng=rng)


def _pair(root, options, **reader):
    """The same videos with views made by a worker, and left uncut; and what makes those."""
    transform = TrainTransform(32, **TRANSFORMS[options])
    made, uncut = (
        TrainVideos(RECORDS, VideoReader(str(root), **reader), _indices, given, seed=5) for given in (transform, None)
    )
    return made, uncut, OnDevice(transform)


@pytest.mark.parametrize("options", TRANSFORMS)
def test_the_device_makes_the_views_of_a_worker(root, options):
    made, uncut, make = _pair(root, options, in_memory=True)
    found = []
    for key in [(epoch, index) for epoch in range(2) for index in range(len(SIZES))]:
        torch.manual_seed(key[0])  # the draws follow from the sample alone, and leave others' as they were
        state = torch.get_rng_state()
        sample, expected = uncut[key], made[key]
        views = make(sample, CPU)
        assert torch.equal(views, as_they_are(expected, CPU)) and torch.equal(torch.get_rng_state(), state)
        assert views.shape == (2, 3, 6, 32, 32) and views.dtype == torch.uint8 and views.is_contiguous()
        assert sample._replace(views=None) == expected._replace(views=None)
        found.append(views)
    assert not any(torch.equal(a, b) for a, b in pairwise(found))


def test_samples_come_from_workers_uncut(root):
    made, uncut, make = _pair(root, "erasing", in_memory=True)
    batches = TrainBatches(len(RECORDS), 3, seed=0)
    (batch,) = train_loader(uncut, batches, workers=1, prefetch=1)
    (expected,) = train_loader(made, batches, workers=0)
    assert all(torch.equal(make(a, CPU), b.views) for a, b in zip(batch, expected, strict=True))


@pytest.mark.parametrize("options", ["crop and flip", "erasing"])
def test_whatever_is_copied_up_is_pinned_and_keeps_its_type(root, options, monkeypatch):
    from torch.utils.data._utils.pin_memory import pin_memory

    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    made, uncut, _ = _pair(root, options)
    for sample in (made[0, 1], uncut[0, 1]):
        pinned.clear()
        ((after,),) = pin_memory(([sample],))
        assert isinstance(after, Sample) and type(after.views) is type(sample.views)
        assert after._replace(views=None) == sample._replace(views=None)
        tensors = [sample.views] if isinstance(sample.views, torch.Tensor) else [sample.views[0], *sample.views[1]]
        assert [id(tensor) for tensor in pinned] == [id(tensor) for tensor in tensors]
    assert isinstance(after.views, Uncut) and isinstance(after.views.rows, tuple) and after.views.seed > 0


def test_erasing_paints_as_torchvision_does():
    from torchvision.transforms import v2

    frames = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    ours = TrainTransform(32, scale=(1.0, 1.0), ratio=(1.0, 1.0), erasing=1.0, mean=(0.1, 0.5, 0.9))._chain.transforms[
        -1
    ]
    theirs = v2.RandomErasing(1.0, value=[26, 128, 230])
    for seed in range(5):
        torch.manual_seed(seed)
        expected = theirs(frames)
        torch.manual_seed(seed)
        assert torch.equal(ours(frames), expected) and not torch.equal(expected, frames)


def test_the_config_says_where(root):
    (root / "list.csv").write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in RECORDS))
    lists = {key: str(root / "list.csv") for key in ("train", "val")}
    data = {**lists, "root": str(root), "num_classes": 3, "workers": 0, "erasing": 0.5, "rand_augment": [2, 5]}
    views = {}
    for place in ("worker", "device"):
        config = Config.model_validate(
            {
                "model": {"num_frames": 4},
                "data": {**data, "augment_on": place},
                "optim": {"batch_size": 3},
            }
        )
        (batch,) = builders.build_train_loader(config, Ranks(CPU))
        make = builders.build_train_views(config)
        views[place] = [make(sample, CPU) for sample in batch]
        assert all(isinstance(sample.views, Uncut) == (place == "device") for sample in batch)
    assert all(torch.equal(a, b) for a, b in zip(*views.values(), strict=True))
