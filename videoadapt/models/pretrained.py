"""Pretrained weights for timm's transformers: complete, or an error."""

import hashlib
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import swin_transformer, vision_transformer
from torch import Tensor, nn

from videoadapt.errors import UserError
from videoadapt.tensorfile import read_tensors

_OPEN_CLIP_NAMES = {
    "vit_base_patch32_clip_224": "ViT-B-32",
    "vit_base_patch32_clip_quickgelu_224": "ViT-B-32-quickgelu",
    "vit_base_patch16_clip_224": "ViT-B-16",
    "vit_base_patch16_clip_quickgelu_224": "ViT-B-16-quickgelu",
    "vit_large_patch14_clip_224": "ViT-L-14",
    "vit_large_patch14_clip_quickgelu_224": "ViT-L-14-quickgelu",
}
# mmcv's checkpoints keep their best score as a numpy number: plain data, but torch must be told.
_SCALAR = np.float64(0).__reduce__()[0]
_NUMPY_NUMBERS = [_SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"), np.dtype]
_NUMPY_NUMBERS += [type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4")]
_UNFIT = (AttributeError, KeyError, StopIteration, ValueError, RuntimeError, AssertionError)  # of timm's npz reader
_REMEDY = "fetch the file elsewhere and name it in model.pretrained"


def load_pretrained(vit: nn.Module, backbone: str, pretrained: str) -> None:
    """Fill ``vit`` with ``pretrained``: a timm tag of ``backbone``, ``open_clip:<tag>`` or a weight file."""
    if pretrained.startswith("open_clip:"):
        load_weight_file(vit, _download_open_clip(backbone, pretrained.removeprefix("open_clip:")))
    elif is_weight_file(pretrained):
        load_weight_file(vit, Path(pretrained))
    else:
        _load_timm(vit, backbone, pretrained)


def load_weight_file(backbone: nn.Module, path: Path) -> None:
    """Load a timm, open_clip or OpenAI state dict in any form they come in, or the JAX authors' ``.npz``."""
    if path.suffix == ".npz":
        _load_npz(backbone, path)
    else:
        _fit(backbone, read_state_dict(path), str(path))


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file: safetensors, ``torch.save`` or TorchScript, as OpenAI's; no code in it runs."""
    if not path.is_file():
        raise UserError(f"{path}: no such weight file; {_REMEDY}")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else _load_torch(path)
    except SafetensorError as error:
        raise UserError(f"{path}: not a readable weight file ({_first_line(error)})") from None
    except ValueError as error:
        raise UserError(f"{path}: not a readable weight file ({error})") from None
    for wrapper in ("state_dict", "model"):
        state = state.get(wrapper, state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: not a state dict of tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _load_torch(path: Path) -> object:
    with torch.serialization.safe_globals(_NUMPY_NUMBERS):
        return read_tensors(path)


def _load_npz(backbone: Any, path: Path) -> None:
    """The original ``ViT-B_16.npz`` and its like, through timm's own reader."""
    if not path.is_file():
        raise UserError(f"{path}: no such weight file; {_REMEDY}")
    if not hasattr(backbone, "blocks"):
        raise UserError(f"{path}: .npz weights are those of a ViT, not of a {type(backbone).__name__}")
    try:
        with np.load(path, allow_pickle=False) as stored:
            blocks = {key.split("encoderblock_")[1].split("/")[0] for key in stored.files if "encoderblock_" in key}
            patch = next(stored[key].shape[0] for key in stored.files if key.endswith("embedding/kernel"))
        have, need = (len(blocks), patch), (len(backbone.blocks), backbone.patch_embed.patch_size[0])
        if have != need:
            raise ValueError(f"blocks and pixels a patch are {have} in the file, {need} in the backbone")
        for parameter in backbone.parameters():
            nn.init.constant_(parameter, float("nan"))  # what timm's reader does not fill stays visible
        backbone.load_pretrained(str(path))
        if unfilled := [name for name, parameter in backbone.named_parameters() if parameter.isnan().any()]:
            raise ValueError(f"no weights for {_some(unfilled)}")
    except (*_UNFIT, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not the .npz weights of this backbone ({_first_line(error)})") from None


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
    except (AttributeError, RuntimeError) as error:  # a layer the backbone does not have
        raise UserError(f"{source}: weights of another backbone ({_first_line(error)})") from None
    missing = [key for key in wanted if key not in weights]
    if missing:
        raise UserError(f"{source}: no weights for {_some(missing)}; the file is partial or of another backbone")
    unfit = [key for key in wanted if wanted[key].shape != weights[key].shape]
    if unfit:
        have, need = tuple(weights[unfit[0]].shape), tuple(wanted[unfit[0]].shape)
        raise UserError(f"{source}: {unfit[0]} has shape {have}, the backbone needs {need}; is it another backbone's?")
    if deeper := [key for key in weights if key not in wanted and re.match(r"(layers\.\d+\.)?blocks\.", key)]:
        raise UserError(f"{source}: holds {_some(deeper)}, for which the backbone has no place; another backbone's")
    if strange := [key for key in wanted if not torch.isfinite(weights[key]).all()]:
        raise UserError(f"{source}: NaN or infinity in {_some(strange)}; the file is damaged")
    backbone.load_state_dict({key: weights[key] for key in wanted})


def _load_timm(vit: nn.Module, backbone: str, tag: str) -> None:
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{backbone}.*")]
    if tag not in tags:
        choices = ", ".join(["none", "a weight file", "open_clip:<tag>", *tags])
        raise UserError(f"model.pretrained: '{tag}' is no tag of {backbone}; choose from: {choices}")
    try:
        source = timm.create_model(f"{backbone}.{tag}", pretrained=True, num_classes=vit.num_classes)
    except Exception as error:  # the hub client raises many kinds, all meaning "not here"
        raise UserError(
            f"model.pretrained: cannot download {backbone}.{tag} ({_first_line(error)}); {_REMEDY}"
        ) from None
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
    return _download_open_clip(backbone, pretrained.removeprefix("open_clip:"))


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


def _download_open_clip(backbone: str, tag: str) -> Path:
    import open_clip  # slow to import, and needed here alone

    name = open_clip_name(backbone)
    source = open_clip.get_pretrained_cfg(name, tag)
    if not source:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name))
        raise UserError(f"model.pretrained: '{tag}' is no open_clip tag of {name}; choose from: {tags}")
    if bool(source.get("quick_gelu")) != ("quickgelu" in backbone):
        swap = ("_clip_quickgelu_", "_clip_") if "quickgelu" in backbone else ("_clip_", "_clip_quickgelu_")
        other = backbone.replace(*swap)
        raise UserError(f"model.pretrained: open_clip:{tag} was trained with another activation; use backbone {other}")
    try:
        return Path(open_clip.download_pretrained(source))
    except Exception as error:  # as above
        raise UserError(
            f"model.pretrained: cannot download open_clip:{tag} ({_first_line(error)}); {_REMEDY}"
        ) from None


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
    return ", ".join(keys[:2]) + more


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
