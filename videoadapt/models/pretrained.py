"""Pretrained weights for timm's transformers: complete, or an error."""

import hashlib
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import timm
from timm.models import swin_transformer, vision_transformer
from torch import Tensor, nn

from videoadapt.errors import UserError
from videoadapt.models.activation import check_activation, check_file, tag_uses_quickgelu, twin, uses_quickgelu
from videoadapt.models.fetching import fetching
from videoadapt.models.weight_file import REMEDY, check_numbers, first_line, of_image_model, read_weights, some

_OPEN_CLIP_NAMES = {
    "vit_base_patch32_clip_224": "ViT-B-32",
    "vit_base_patch32_clip_quickgelu_224": "ViT-B-32-quickgelu",
    "vit_base_patch16_clip_224": "ViT-B-16",
    "vit_base_patch16_clip_quickgelu_224": "ViT-B-16-quickgelu",
    "vit_large_patch14_clip_224": "ViT-L-14",
    "vit_large_patch14_clip_quickgelu_224": "ViT-L-14-quickgelu",
}
# Of timm's filters and readers, made for their own files.
_UNFIT = (AssertionError, AttributeError, LookupError, RuntimeError, StopIteration, TypeError, ValueError)
# Names of layers that compute, beside the backbone's own: without a place for them it would compute something else.
_LAYERS = re.compile(r"(layers\.\d+\.)?blocks\.|norm_pre\.|reg_token|dist_token")


def load_pretrained(vit: nn.Module, backbone: str, pretrained: str) -> None:
    """Fill ``vit`` with ``pretrained``: a timm tag of ``backbone``, ``open_clip:<tag>`` or a weight file."""
    if pretrained.startswith("open_clip:"):
        tag = pretrained.removeprefix("open_clip:")
        load_weight_file(vit, _download_open_clip(backbone, tag, uses_quickgelu(vit)))
    elif is_weight_file(pretrained):
        load_weight_file(vit, Path(pretrained), backbone)
    else:
        _load_timm(vit, backbone, pretrained)


def load_weight_file(model: nn.Module, path: Path, backbone: str | None = None) -> None:
    """Load a timm, open_clip or OpenAI state dict in any form they come in, or the JAX authors' ``.npz``.

    Args:
        backbone: the name that ``model`` was built as, for a file of unknown activation.
    """
    if path.suffix == ".npz":
        _load_npz(model, path)
        return
    weights = read_weights(path)
    _fit(model, *of_image_model(weights.state, str(path)))
    if backbone is not None:
        check_file(path, weights, backbone, model)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file, all of them and under its own names; see ``read_weights``."""
    return read_weights(path).state


def _load_npz(backbone: Any, path: Path) -> None:
    """The original ``ViT-B_16.npz`` and its like, through timm's own reader."""
    if not path.is_file():
        raise UserError(f"{path}: no such weight file; {REMEDY}")
    if not hasattr(backbone, "blocks"):
        raise UserError(f"{path}: .npz weights are those of a ViT, not of a {type(backbone).__name__}")
    try:
        with np.load(path, allow_pickle=False) as stored:
            blocks = {key.split("encoderblock_")[1].split("/")[0] for key in stored.files if "encoderblock_" in key}
            patch = next(stored[key].shape[0] for key in stored.files if key.endswith("embedding/kernel"))
            if strange := [key for key in stored.files if stored[key].ndim and stored[key].dtype.kind != "f"]:
                raise ValueError(f"{some(strange)}: not stored as floating-point numbers")
        have, need = (len(blocks), patch), (len(backbone.blocks), backbone.patch_embed.patch_size[0])
        if have != need:
            raise ValueError(f"blocks and pixels a patch are {have} in the file, {need} in the backbone")
        for parameter in backbone.parameters():
            nn.init.constant_(parameter, float("nan"))  # what timm's reader does not fill stays visible
        backbone.load_pretrained(str(path))
        if unfilled := [name for name, parameter in backbone.named_parameters() if not parameter.isfinite().all()]:
            raise ValueError(f"no weights for {some(unfilled)}, or no finite ones")
    except (*_UNFIT, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not the .npz weights of this backbone ({first_line(error)})") from None


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, shapes and fp32 values: equal exactly if two backbones hold the same weights.

    The position embedding is left out, which follows the input's resolution.
    """
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        if key == "pos_embed" or key.endswith("relative_position_bias_table"):
            continue
        digest.update(f"{key} {tuple(value.shape)}".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


def _fit(backbone: Any, state: dict[str, Tensor], source: str) -> None:
    """Every tensor of ``backbone`` from ``state``, with its shape; a text tower or another head in it is ignored.

    timm's own filters rename the keys of other libraries and resample position embeddings.
    """
    patch = backbone.patch_embed.proj.weight.shape[-1]
    for key, value in state.items():
        if key.endswith(("conv1.weight", "patch_embed.proj.weight")) and value.ndim == 4 and value.shape[-1] != patch:
            raise UserError(
                f"{source}: has patches of {value.shape[-1]} pixels, the backbone of {patch}: another one's"
            )
    family = vision_transformer if hasattr(backbone, "blocks") else swin_transformer
    try:
        weights, wanted = family.checkpoint_filter_fn(state, backbone), backbone.state_dict()
    except _UNFIT as error:  # a layer the backbone does not have
        raise UserError(f"{source}: weights of another backbone ({first_line(error)})") from None
    missing = [key for key in wanted if key not in weights]
    if missing:
        alike = [key for key in state if key.endswith(f".{missing[0]}")] or list(state)
        raise UserError(
            f"{source}: no weights for {some(missing)}; the file, which holds {some(alike) or 'nothing'}, "
            "is partial or of another backbone"
        )
    check_numbers({key: weights[key] for key in wanted}, source)
    unfit = [key for key in wanted if wanted[key].shape != weights[key].shape]
    if unfit:
        have, need = tuple(weights[unfit[0]].shape), tuple(wanted[unfit[0]].shape)
        raise UserError(f"{source}: {unfit[0]} has shape {have}, the backbone needs {need}; is it another backbone's?")
    if deeper := [key for key in weights if key not in wanted and _LAYERS.match(key)]:
        raise UserError(f"{source}: holds {some(deeper)}, for which the backbone has no place; another backbone's")
    backbone.load_state_dict({key: weights[key] for key in wanted})


def _load_timm(vit: nn.Module, backbone: str, tag: str) -> None:
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{backbone}.*")]
    if tag not in tags:
        if (other := twin(backbone)) and f"{other}.{tag}" in timm.list_pretrained(f"{other}.*"):
            check_activation(f"{other}.{tag}", tag_uses_quickgelu(other, tag), backbone, uses_quickgelu(vit))
        choices = ", ".join(["none", "a weight file", "open_clip:<tag>", *tags])
        raise UserError(f"model.pretrained: '{tag}' is no tag of {backbone}; choose from: {choices}")
    check_activation(f"{backbone}.{tag}", tag_uses_quickgelu(backbone, tag), backbone, uses_quickgelu(vit))
    try:
        with fetching(f"{backbone}.{tag}"):
            source = timm.create_model(f"{backbone}.{tag}", pretrained=True, num_classes=vit.num_classes)
    except Exception as error:  # the hub client raises many kinds, all meaning "not here"
        raise UserError(f"model.pretrained: cannot download {backbone}.{tag} ({first_line(error)}); {REMEDY}") from None
    _fit(vit, source.state_dict(), f"{backbone}.{tag}")


def open_clip_name(backbone: str) -> str:
    """open_clip's name of a timm CLIP."""
    if backbone not in _OPEN_CLIP_NAMES:
        raise UserError(f"model.backbone: open_clip's CLIPs are {', '.join(_OPEN_CLIP_NAMES)}; not {backbone}")
    return _OPEN_CLIP_NAMES[backbone]


def open_clip_file(backbone: str, pretrained: str) -> Path:
    """The file with both towers of CLIP: the one named, or open_clip's download of a tag."""
    if is_weight_file(pretrained):
        return Path(pretrained)
    if pretrained != "openai" and not pretrained.startswith("open_clip:"):
        raise UserError(f"model.pretrained: '{pretrained}' has no text tower; use open_clip:<tag>, openai or a file")
    return _download_open_clip(backbone, pretrained.removeprefix("open_clip:"), "quickgelu" in backbone)


def open_clip_pixels(backbone: str, tag: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of the pixels that open_clip's weights were trained on."""
    import open_clip  # slow to import, and needed here alone

    source = open_clip.get_pretrained_cfg(open_clip_name(backbone), tag)
    return (
        tuple(source.get("mean") or open_clip.OPENAI_DATASET_MEAN),
        tuple(source.get("std") or open_clip.OPENAI_DATASET_STD),
    )


def is_weight_file(pretrained: str) -> bool:
    """Whether ``pretrained`` names a file rather than a tag."""
    return "/" in pretrained or Path(pretrained).suffix in {".safetensors", ".pt", ".pth", ".bin", ".npz"}


def _download_open_clip(backbone: str, tag: str, quickgelu: bool) -> Path:
    import open_clip  # slow to import, and needed here alone

    name = open_clip_name(backbone)
    source = open_clip.get_pretrained_cfg(name, tag)
    if not source:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name))
        raise UserError(f"model.pretrained: '{tag}' is no open_clip tag of {name}; choose from: {tags}")
    check_activation(f"open_clip:{tag}", bool(source.get("quick_gelu")), backbone, quickgelu)
    try:
        with fetching(f"open_clip's {name}, {tag}"):
            return Path(open_clip.download_pretrained(source))
    except Exception as error:  # as above
        raise UserError(f"model.pretrained: cannot download open_clip:{tag} ({first_line(error)}); {REMEDY}") from None
