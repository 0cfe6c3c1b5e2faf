"""Checkpoints of the trainable tensors alone: a few MB, written atomically, read without executing anything."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from videoadapt.atomic import atomically
from videoadapt.errors import UserError

_FORMAT = "videoadapt-1"


def trainable_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What ``requires_grad`` marks, by name: all that training changes."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able facts about them as safetensors; a reader never sees half a file."""
    content = _serialized(tensors, about)
    atomically(path, lambda temporary: temporary.write_bytes(content))


def checkpoint_bytes(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> int:
    """Size of the file that ``save_checkpoint`` would write; the tensors may be mere shapes on the meta device.

    Facts that only training knows, the backbone's fingerprint and how far the run was, take a few hundred bytes more.
    """
    header = _serialized({name: torch.empty(0, dtype=tensor.dtype) for name, tensor in tensors.items()}, about)
    return len(header) + sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _serialized(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return save(contiguous, metadata={"format": _FORMAT, **{key: json.dumps(value) for key, value in about.items()}})


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({error})") from None
    if metadata.pop("format", None) != _FORMAT:
        raise UserError(f"{path}: safetensors, but not a checkpoint of videoadapt")
    check_finite(tensors, path)
    try:
        return tensors, {key: json.loads(value) for key, value in metadata.items()}
    except (ValueError, RecursionError):
        raise UserError(f"{path}: a damaged checkpoint; what it tells of itself is no JSON") from None


def is_plain(value: Any) -> bool:
    """Whether it is a tensor of ordinary floating-point numbers, all of them there."""
    dense = type(value) is Tensor and value.layout == torch.strided and value.device.type == "cpu"
    return dense and value.dtype in {torch.float32, torch.float16, torch.bfloat16, torch.float64}


def check_finite(tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """UserError for NaN and infinity, which no training here writes."""
    if strange := [name for name, tensor in tensors.items() if not is_plain(tensor)]:
        raise UserError(f"{source}: {strange[0]} is of a type that no training here writes")
    if strange := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise UserError(f"{source}: NaN or infinity in {strange[0]}{more}; the file is damaged or its run diverged")


def load_trainable(model: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Put a checkpoint's tensors into a model that must want exactly these, with these shapes."""
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for problem, keys in (
        ("has no weights for", [key for key in wanted if key not in tensors]),
        ("holds weights the model has no place for:", [key for key in tensors if key not in wanted]),
        ("has other shapes for", [key for key in wanted if key in tensors and tensors[key].shape != wanted[key].shape]),
    ):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UserError(f"{source}: {problem} {keys[0]}{more}; was it trained with another model section?")
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(tensors[name])
