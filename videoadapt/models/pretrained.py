"""Pretrained weights for timm's vision transformers: complete, or an error."""

import hashlib
import pickle
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from videoadapt.errors import UserError

_OPEN_CLIP_NAMES = {
    "vit_base_patch32_clip_224": "ViT-B-32",
    "vit_base_patch32_clip_quickgelu_224": "ViT-B-32-quickgelu",
    "vit_base_patch16_clip_224": "ViT-B-16",
    "vit_base_patch16_clip_quickgelu_224": "ViT-B-16-quickgelu",
    "vit_large_patch14_clip_224": "ViT-L-14",
    "vit_large_patch14_clip_quickgelu_224": "ViT-L-14-quickgelu",
}
_REMEDY = "fetch the file elsewhere and name it in model.pretrained"


def load_pretrained(vit: nn.Module, backbone: str, pretrained: str) -> None:
    """Fill ``vit`` with ``pretrained``: a timm tag of ``backbone``, ``open_clip:<tag>`` or a weight file."""
    if pretrained.startswith("open_clip:"):
        load_weight_file(vit, _download_open_clip(backbone, pretrained.removeprefix("open_clip:")))
    elif "/" in pretrained or Path(pretrained).suffix in {".safetensors", ".pt", ".pth", ".bin", ".npz"}:
        load_weight_file(vit, Path(pretrained))
    else:
        _load_timm(vit, backbone, pretrained)


def load_weight_file(vit: nn.Module, path: Path) -> None:
    """Load a timm, open_clip or OpenAI state dict, saved as safetensors or by ``torch.save``."""
    _fit(vit, read_state_dict(path), str(path))


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file, loaded without executing anything in it."""
    if not path.is_file():
        raise UserError(f"{path}: no such weight file; {_REMEDY}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable weight file ({_first_line(error)})") from None
    for wrapper in ("state_dict", "model"):
        state = state.get(wrapper, state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: not a state dict of tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, shapes and fp32 values: equal exactly if two backbones hold the same weights.

    The position embedding is left out, which follows the input's resolution.
    """
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        if key == "pos_embed":
            continue
        digest.update(f"{key} {tuple(value.shape)}".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


def _fit(vit: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Every tensor of ``vit`` from ``state``, with its shape; a text tower or another head in it is ignored.

    timm's own filter renames the keys of other libraries and resamples the position embedding.
    """
    patch = vit.patch_embed.proj.weight.shape[-1]
    for key, value in state.items():
        if key.endswith(("conv1.weight", "patch_embed.proj.weight")) and value.ndim == 4 and value.shape[-1] != patch:
            raise UserError(
                f"{source}: has patches of {value.shape[-1]} pixels, the backbone of {patch}: another one's"
            )
    weights, wanted = checkpoint_filter_fn(state, vit), vit.state_dict()
    missing = [key for key in wanted if key not in weights]
    if missing:
        raise UserError(f"{source}: no weights for {_some(missing)}; the file is partial or of another backbone")
    unfit = [key for key in wanted if wanted[key].shape != weights[key].shape]
    if unfit:
        have, need = tuple(weights[unfit[0]].shape), tuple(wanted[unfit[0]].shape)
        raise UserError(f"{source}: {unfit[0]} has shape {have}, the backbone needs {need}; is it another backbone's?")
    depth = 1 + max(int(key.split(".")[1]) for key in weights if key.startswith("blocks."))
    if depth > len(vit.blocks):
        raise UserError(f"{source}: holds {depth} blocks, the backbone has {len(vit.blocks)}; it is another backbone's")
    vit.load_state_dict({key: weights[key] for key in wanted})


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


def _download_open_clip(backbone: str, tag: str) -> Path:
    import open_clip  # slow to import, and needed here alone

    if backbone not in _OPEN_CLIP_NAMES:
        raise UserError(f"model.pretrained: open_clip tags go with {', '.join(_OPEN_CLIP_NAMES)}; not {backbone}")
    name = _OPEN_CLIP_NAMES[backbone]
    source = open_clip.get_pretrained_cfg(name, tag)
    if not source:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name))
        raise UserError(f"model.pretrained: '{tag}' is no open_clip tag of {name}; choose from: {tags}")
    if bool(source.get("quick_gelu")) != ("quickgelu" in backbone):
        other = (
            backbone.replace("_clip_quickgelu_", "_clip_")
            if "quickgelu" in backbone
            else backbone.replace("_clip_", "_clip_quickgelu_")
        )
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
