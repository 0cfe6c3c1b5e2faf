"""From a folder of videos to a model of them, without a config file."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from videoadapt import builders
from videoadapt.atomic import writable_folder
from videoadapt.config import make_config
from videoadapt.data.annotations import CONVERTERS, Annotations, divide
from videoadapt.data.lists import write_list, write_text
from videoadapt.engine import distributed
from videoadapt.engine.folder import check_free
from videoadapt.errors import UserError
from videoadapt.models.backbone import MINI, load_backbone
from videoadapt.models.classifier import Classifier
from videoadapt.video.media import is_still
from videoadapt.workflows.methods import method_changes
from videoadapt.workflows.training import train_config

log = logging.getLogger(__name__)
CLIP_B16 = "vit_base_patch16_clip_quickgelu_224"


def adapt(
    folder: str | Path,
    method: str = "loki",
    *,
    out_dir: str | Path = "runs/adapted",
    backbone: str = CLIP_B16,
    pretrained: str | None = None,
    num_frames: int = 8,
    epochs: int = 30,
    overrides: Sequence[str] = (),
) -> Classifier:
    """Train on a folder with one subfolder of videos or pictures for each class; the best model, where it was trained.

    Where there are no ``train`` and ``val`` folders above the classes, a fifth of each class is held out. ``out_dir``
    keeps lists, config.yaml (with which 'videoadapt test' and 'videoadapt train' go on) and the checkpoints. Loss and
    validation accuracy are logged (``videoadapt``, INFO), on stderr where no logging is set up. On a GPU that has bf16,
    that is the precision.

    Args:
        method: a name of ``videoadapt.workflows.methods.METHODS``.
        pretrained: as in a config; OpenAI's weights for CLIP ViT-B/16, the embedded ones for the embedded backbone.
        num_frames: of a clip, one from each equal part of a video; without effect if there are pictures alone.
        overrides: ``key=value`` of a config, as on the command line.

    Raises UserError (a ValueError) for a mistake that the caller can correct.
    """
    root, out = Path(folder), Path(out_dir)
    for name, number in (("epochs", epochs), ("num_frames", num_frames)):
        if not isinstance(number, int) or number < 1:
            raise UserError(f"{name}: {number!r} is no whole number of at least 1")
    if not root.is_dir():
        raise UserError(f"{root}: is no folder")
    overrides = [overrides] if isinstance(overrides, str) else list(overrides)
    found = divide(CONVERTERS["folder"](root, root), val_share=0.2, seed=0)
    for note in found.notes:
        log.warning("%s", note)
    video = not all(is_still(root / record.path) for part in found.splits.values() for record in part)
    lists = _lists(found, out / "lists")
    data = {**{key: str(path) for key, path in lists.items()}, "root": str(root), "num_classes": len(found.classes)}
    pretrained = pretrained or {MINI: "embedded", CLIP_B16: "openai"}.get(backbone)
    if pretrained is None:
        raise UserError(f"pretrained: say where the weights of {backbone} are: a tag, open_clip:<tag> or a file")
    with torch.device("meta"):
        width = load_backbone(backbone, "none").num_features
    config = {
        "model": {
            "backbone": backbone,
            "pretrained": pretrained,
            "num_frames": num_frames if video else None,
            **method_changes(method, width, video),
        },
        "data": {**data, "dataset": root.resolve().name, "sampling": "segment"},
        "optim": {
            "epochs": epochs,
            "batch_size": min(4, len(found.splits["train"])),
            "lr": 4e-4,
            "min_lr": 1e-5,
            "warmup_epochs": epochs / 10,
        },
        "run": {"out_dir": str(out), "eval_every": max(epochs // 10, 1), "precision": "auto"},
    }
    checked = make_config(config, overrides, "adapt")
    if not checked.run.overwrite:
        check_free(out, "out_dir", resume=bool(checked.run.resume))
    _write_lists(found, lists)
    with _heard():
        train_config(checked)
    return builders.load_checkpoint(out / "best.safetensors", distributed.start(checked.run.device).device)


@contextmanager
def _heard() -> Iterator[None]:
    """What is logged meanwhile is shown on stderr, if nobody else has set up logging."""
    logger = logging.getLogger("videoadapt")
    if logger.hasHandlers():
        yield
        return
    handler, level = logging.StreamHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _lists(found: Annotations, folder: Path) -> dict[str, Path]:
    """The keys of a data section that name files, and where these will be."""
    if missing := [split for split in ("train", "val") if not found.splits.get(split)]:
        if found.splits.get("train") and "val" in found.splits:
            raise UserError("no videos for val: each class has a single one, two are needed: to train and to validate")
        raise UserError(f"no videos for {missing[0]}; name the folders train and val, or have the classes at the top")
    if len(found.classes) < 2:
        raise UserError(f"'{found.classes[0]}' is the only folder with videos or pictures; two classes are needed")
    return {**{split: folder / f"{split}.csv" for split in found.splits}, "classes": folder / "classes.txt"}


def _write_lists(found: Annotations, paths: Mapping[str, Path]) -> None:
    writable_folder(str(paths["classes"].parent), "out_dir")
    for split, records in found.splits.items():
        write_list(paths[split], records)
    write_text(paths["classes"], "".join(f"{name}\n" for name in found.classes))
