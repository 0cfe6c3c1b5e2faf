"""Image sets: torchvision's own readers, VTAB-1k, and the few-shot lists."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torchvision import datasets
from tqdm import tqdm

from videoadapt.data.annotations.common import Annotations, find_file
from videoadapt.data.lists import Record, read_list
from videoadapt.errors import UserError
from videoadapt.video.decode.common import reason

# Our split: the keywords that make torchvision open it.
_TRAIN = {"train": {"train": True}, "test": {"train": False}}
_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE = {**_SPLIT, "val": {"split": "val"}}
TORCHVISION: dict[str, tuple[type, dict[str, dict[str, Any]]]] = {
    "cifar10": (datasets.CIFAR10, _TRAIN),
    "cifar100": (datasets.CIFAR100, _TRAIN),
    "mnist": (datasets.MNIST, _TRAIN),
    "svhn": (datasets.SVHN, _SPLIT),
    "food101": (datasets.Food101, _SPLIT),
    "dtd": (datasets.DTD, _THREE),
    "aircraft": (datasets.FGVCAircraft, {**_THREE, "train": {"split": "trainval"}}),
    "flowers102": (datasets.Flowers102, _THREE),
    "pets": (datasets.OxfordIIITPet, {"train": {"split": "trainval"}, "test": {"split": "test"}}),
    "cars": (datasets.StanfordCars, _SPLIT),
    "pcam": (datasets.PCAM, _THREE),
    "eurosat": (datasets.EuroSAT, {"all": {}}),
    "caltech101": (datasets.Caltech101, {"all": {}}),
    "sun397": (datasets.SUN397, {"all": {}}),
}
_BY_HAND = {"cars"}  # its authors' server is gone

# VTAB-1k: the folder of each set, and its other names.
VTAB = {
    "cifar100": ("cifar", "cifar100", "cifar_100"),
    "caltech101": ("caltech101",),
    "dtd": ("dtd",),
    "flowers102": ("oxford_flowers102", "flowers102"),
    "pets": ("oxford_iiit_pet", "oxford_pet", "pets"),
    "svhn": ("svhn",),
    "sun397": ("sun397",),
    "patch_camelyon": ("patch_camelyon",),
    "eurosat": ("eurosat",),
    "resisc45": ("resisc45",),
    "retinopathy": ("diabetic_retinopathy", "retinopathy"),
    "clevr_count": ("clevr_count",),
    "clevr_dist": ("clevr_dist",),
    "dmlab": ("dmlab",),
    "kitti": ("kitti",),
    "dsprites_loc": ("dsprites_loc",),
    "dsprites_ori": ("dsprites_ori",),
    "smallnorb_azi": ("smallnorb_azi",),
    "smallnorb_ele": ("smallnorb_ele",),
}
_FEWSHOT = {
    "food101": ("food101", "food-101"),
    "aircraft": ("fgvc-aircraft", "fgvc_aircraft"),
    "cars": ("standford-cars", "standford_cars", "stanford-cars", "stanford_cars"),
    "flowers102": ("oxford-flowers102", "oxford_flowers102", "oxford_flowers"),
    "pets": ("oxford-pets", "oxford_pets"),
}


def torchvision_set(name: str, folder: Path, videos: Path, *, download: bool = False) -> Annotations:
    """A set of ``TORCHVISION`` that lies in ``folder`` as torchvision unpacks it.

    Sets without picture files of their own (CIFAR, MNIST, SVHN, PCAM, Caltech) are written as PNG to
    ``videos/pictures/<name>/<split>/``.
    """
    kind, splits = TORCHVISION[name]
    found: dict[str, list[Record]] = {}
    classes: list[str] = []
    for split, options in splits.items():
        try:
            data = kind(str(folder), download=download, **options)
            pairs = _files(data) or _written(data, videos / "pictures" / name / split)
        except Exception as error:  # each set has its own ways to fail
            remedy = "unpack it there by hand" if download or name in _BY_HAND else "--download fetches it"
            raise UserError(f"{name}: torchvision cannot read it in {folder} ({reason(error)}); {remedy}") from None
        records = [Record(_below(Path(path), videos), int(label)) for path, label in pairs]
        found[split] = sorted(records) if split == "all" else records
        classes = max(classes, list(getattr(data, "classes", getattr(data, "categories", []))), key=len)
    count = max(record.label for records in found.values() for record in records) + 1
    return Annotations(found, classes if len(classes) >= count else [str(label) for label in range(count)])


def _files(data: Any) -> list[tuple[Path, int]]:
    """(path, label) of a set that keeps picture files; torchvision has no common name for them."""
    for pairs in ("samples", "_samples"):
        if isinstance(getattr(data, pairs, None), list):
            return getattr(data, pairs)
    files = getattr(data, "_image_files", getattr(data, "_images", None))
    return list(zip(files, data._labels, strict=True)) if isinstance(files, list) else []


def _written(data: Any, folder: Path) -> list[tuple[Path, int]]:
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number in tqdm(range(len(data)), desc=f"writing {folder}", disable=None):
        path = folder / f"{number:06d}.png"
        image, label = data[number]
        image.save(path)
        pairs.append((path, label))
    return pairs


def _below(path: Path, root: Path) -> str:
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return path.resolve().as_posix()


def vtab(name: str, folder: Path, _videos: Path) -> Annotations:
    """A set of VTAB-1k: ``<set>/{train800,val200,train800val200,test}.txt``, ``images/<split>/000000.jpg label``."""
    part = _subfolder(folder, VTAB[name])
    splits = {}
    for split in ("train800", "val200", "train800val200", "test"):
        if path := find_file(part, f"{split}.txt", optional=split in {"train800", "val200"}):
            splits[split] = [Record(f"{part.name}/{image}", label) for image, label in read_list(path)]
    return Annotations(splits, _numbers(splits))


def fewshot(name: str, folder: Path, _videos: Path) -> Annotations:
    """``<set>/annotations/{train_meta.list.num_shot_N.seed_S,val_meta.list,test_meta.list}``, as NOAH ships them."""
    part = _subfolder(folder, _FEWSHOT[name])
    part = part / "annotations" if (part / "annotations").is_dir() else part
    splits = {}
    for path in sorted(part.glob("train_meta.list.num_shot_*")):
        if match := re.fullmatch(r"train_meta\.list\.num_shot_(\d+)\.seed_(\d+)", path.name):
            splits[f"train_{match[1]}shot_seed{match[2]}"] = read_list(path)
    if not splits:
        raise UserError(f"{part}: holds no train_meta.list.num_shot_<shots>.seed_<seed>")
    splits["val"] = read_list(find_file(part, "val_meta.list"))
    splits["test"] = read_list(find_file(part, "test_meta.list"))
    return Annotations(splits, _numbers(splits))


def _subfolder(folder: Path, names: tuple[str, ...]) -> Path:
    found = next((folder / name for name in names if (folder / name).is_dir()), None)
    if found is None:
        raise UserError(f"{folder}: holds no folder {' or '.join(names)}")
    return found


def _numbers(splits: Mapping[str, Sequence[Record]]) -> list[str]:
    """These lists have no class names; the count is over all of them, since a small one may lack classes."""
    return [str(label) for label in range(max(record.label for part in splits.values() for record in part) + 1)]


def converters() -> dict[str, Callable[..., Annotations]]:
    return {
        **{name: partial(torchvision_set, name) for name in TORCHVISION},
        **{f"vtab/{name}": partial(vtab, name) for name in VTAB},
        **{f"fewshot/{name}": partial(fewshot, name) for name in _FEWSHOT},
    }
