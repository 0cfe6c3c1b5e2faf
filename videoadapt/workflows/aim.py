"""AIM's published checkpoints as ours."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from videoadapt import builders
from videoadapt.atomic import atomically, writable_folder
from videoadapt.config import Config
from videoadapt.engine.checkpoint import save_checkpoint, trainable_tensors
from videoadapt.errors import UserError
from videoadapt.models.aim import convert_aim, load_aim
from videoadapt.models.backbone import load_backbone
from videoadapt.models.pretrained import read_state_dict


def import_aim(config: Config, weights: Path, out: Path, keep_backbone: bool = False) -> tuple[Path, int]:
    """aim.safetensors in ``out``, with the tensors that AIM trained, unchanged; its path and number of parameters.

    Args:
        weights: a checkpoint of AIM's own code.
        keep_backbone: take the frozen weights from it too, into backbone.safetensors; else they must be those of
            ``model.pretrained``, to the last bit.
    """
    if not weights.is_file():
        raise UserError(f"{weights}: no such checkpoint of AIM's; its README links them")
    state = read_state_dict(weights)
    out = writable_folder(str(out), "--out")
    if keep_backbone:
        load_aim(builders.build_model(_with_backbone(config, "none").model), state)  # it fits, or nothing is written
        file = _write_backbone(config, state, out / "backbone.safetensors")
        config = _with_backbone(config, str(file))
    model = builders.build_model(config.model)
    load_aim(model, state, frozen=False)
    about = {
        "config": config.model_dump(),
        "classes": builders.class_names(config.data),
        "fingerprint": model.fingerprint,
    }
    tensors = trainable_tensors(model)
    save_checkpoint(out / "aim.safetensors", tensors, about)
    return out / "aim.safetensors", sum(tensor.numel() for tensor in tensors.values())


def _with_backbone(config: Config, pretrained: str) -> Config:
    return config.model_copy(update={"model": config.model.model_copy(update={"pretrained": pretrained})})


def _write_backbone(config: Config, state: dict[str, Tensor], file: Path) -> Path:
    """The image tower alone, under timm's names."""
    model, weights = config.model, convert_aim(state)
    with torch.device("meta"):
        vit = load_backbone(model.backbone, "none", image_size=model.image_size, options=model.backbone_options)
    names = [name for name in vit.state_dict() if f"backbone.{name}" in weights]
    tower = {name: weights[f"backbone.{name}"].contiguous() for name in names}
    atomically(file, lambda path: save_file(tower, path))
    return file
