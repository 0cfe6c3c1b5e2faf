"""What a weight file holds: which of its state dicts counts, under which names, and whether it holds plain numbers."""

import argparse
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from videoadapt.errors import UserError
from videoadapt.tensorfile import read_tensors

log = logging.getLogger(__name__)

REMEDY = "fetch the file elsewhere and name it in model.pretrained"
# The order in which timm.models.load_checkpoint looks.
_AVERAGES, _PLAIN = ("state_dict_ema", "model_ema"), ("state_dict", "model")
# Layers that a wrapper puts between any two names of a model: torch.compile, FSDP, activation checkpointing.
_BETWEEN = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# The tensor that every image transformer has, in the words of timm, open_clip and OpenAI; what precedes is a prefix.
_MARKS = (
    "visual.trunk.patch_embed.proj.weight",
    "patch_embed.proj.weight",
    "visual.class_embedding",
    "class_embedding",
)
_NUMBERS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_DEEPEST = 5
# mmcv's checkpoints keep their best score as a numpy number, timm's and DINO's their arguments: plain data, but torch
# must be told.
_SCALAR = np.float64(0).__reduce__()[0]
_PLAIN_DATA = [argparse.Namespace, _SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"), np.dtype]
_PLAIN_DATA += [type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4")]


class Weights(NamedTuple):
    """A state dict, and what stands beside it at the top of its file."""

    state: dict[str, Tensor]
    beside: Mapping[str, Any]


def read_weights(path: Path) -> Weights:
    """The weights of a safetensors file, ``torch.save`` or TorchScript, as OpenAI's; no code in it runs.

    Of several state dicts it is the one that timm's or DINO's own loader takes; where no loader says, an error.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such weight file; {REMEDY}")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _load_torch(path)
    except (SafetensorError, KeyError) as error:  # KeyError: a type of numbers that torch does not have
        raise UserError(f"{path}: not a readable weight file ({first_line(error)})") from None
    except ValueError as error:
        raise UserError(f"{path}: not a readable weight file ({error})") from None
    state = _without_wrappers(_opened(content, str(path)), str(path))
    beside = {key: value for key, value in content.items() if not isinstance(value, Tensor | Mapping)}
    return Weights(state, beside)


def of_image_model(state: dict[str, Tensor], source: str) -> tuple[dict[str, Tensor], str]:
    """The tensors of the one image model in ``state``, without the prefix that all of them have, which ends the source.

    A whole CLIP stays whole.
    """
    prefixes = list(dict.fromkeys(prefix for key in state if (prefix := _prefix(key)) is not None))
    if len(prefixes) > 1:
        shown = ", ".join(repr(prefix) if prefix else "no prefix" for prefix in prefixes)
        prefixes = [_teacher({prefix.split(".")[0]: prefix for prefix in prefixes if prefix}, len(prefixes))]
        if not prefixes[0]:
            raise UserError(f"{source}: holds several image models, under {shown}; save the one you want alone")
    if prefixes and (prefix := prefixes[0]):
        others = sorted({key.split(".")[0] for key in state if not key.startswith(prefix)})
        log.info("%s: the weights under '%s' are taken%s", source, prefix, _not(others))
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        source += f", under '{prefix}'"
    if "class_embedding" in state:  # CLIP's image tower alone: timm knows it as a part of CLIP
        state = {f"visual.{key}": value for key, value in state.items()}
    return state, source


def check_numbers(tensors: Mapping[str, Tensor], source: str) -> None:
    """UserError for what would become other numbers in a parameter: quantised integers, NaN, complex, …"""
    for key, value in tensors.items():
        if value.dtype not in _NUMBERS or value.layout != torch.strided or value.is_meta:
            kind = str(value.dtype if value.dtype not in _NUMBERS else value.layout).removeprefix("torch.")
            raise UserError(
                f"{source}: {key} holds {'nothing' if value.is_meta else kind}; quantised or packed weights cannot be "
                "used, take the file with float16, bfloat16 or float32"
            )
    if strange := [key for key, value in tensors.items() if not torch.isfinite(value.float()).all()]:
        raise UserError(f"{source}: NaN or infinity in {some(strange)}; the file is damaged")


def some(keys: list[str]) -> str:
    """The first two, and how many more there are."""
    more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
    return ", ".join(keys[:2]) + more


def first_line(error: Exception) -> str:
    """What kind of error, and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def _load_torch(path: Path) -> Any:
    with torch.serialization.safe_globals(_PLAIN_DATA):
        return read_tensors(path)


def _opened(node: object, source: str, depth: int = 0) -> dict[str, Tensor]:
    """The state dict inside its wrappers, such as the training checkpoint around it."""
    if not isinstance(node, Mapping) or not node or depth > _DEEPEST:
        raise UserError(f"{source}: not a state dict of tensors")
    if all(isinstance(value, Tensor) for value in node.values()):
        return dict(node)
    averages = [key for key in _AVERAGES if node.get(key) is not None]  # whatever is in them, timm goes no further
    inside = averages + [key for key, value in node.items() if key not in averages and _holds_image_model(value)]
    inside = inside or [key for key in _PLAIN if key in node]
    if not inside:
        key, value = next((key, value) for key, value in node.items() if not isinstance(value, Tensor))
        raise UserError(f"{source}: not a state dict of tensors: {key!r} holds {type(value).__name__}")
    key = _choice(inside, source, bare=_has_mark(node))
    if key not in _PLAIN or len(inside) > 1 or _unread(node, inside):
        kind = "the average " if key in _AVERAGES else ""
        log.info("%s: %s'%s' is taken%s", source, kind, key, _not([*inside, *_unread(node, inside)], key))
    return _opened(node[key], source, depth + 1)


def _choice(inside: list, source: str, bare: bool) -> Any:
    """timm takes an average before the rest, and DINO its teacher, which is one.

    An average under another name stays ambiguous: mmengine's ``ema_state_dict`` holds the weights that are no average.
    """
    if not bare:
        if average := next((key for key in _AVERAGES if key in inside), None):
            return average
        if len(inside) == 1:
            return inside[0]
        if set(inside) <= set(_PLAIN):
            return _PLAIN[0]
        if teacher := _teacher({key: key for key in inside}, len(inside)):
            return teacher
    shown = ", ".join([*(repr(key) for key in inside), *(["no wrapper"] if bare else [])])
    raise UserError(f"{source}: holds several state dicts, {shown}; save the one you want alone")


def _teacher(named: Mapping[Any, str], count: int) -> str:
    """Of a teacher and a student the teacher; else nothing."""
    return named["teacher"] if count == 2 and named.keys() == {"teacher", "student"} else ""


def _unread(node: Mapping, inside: list) -> list[str]:
    """Averages without names for their tensors, as lists: nobody but their author's program reads them."""
    wanted = (key for key in node if isinstance(key, str) and {"ema", "swa", "avg"} & set(key.lower().split("_")))
    return [key for key in wanted if key not in inside and isinstance(node[key], Mapping | list | tuple) and node[key]]


def _holds_image_model(value: object) -> bool:
    waiting, seen = [value], set()  # no recursion: what a pickle holds may be endless
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping) and id(node) not in seen:
            if _has_mark(node):
                return True
            seen.add(id(node))
            waiting.extend(node.values())
    return False


def _has_mark(node: Mapping) -> bool:
    return any(isinstance(value, Tensor) and _prefix(key) is not None for key, value in node.items())


def _prefix(key: object) -> str | None:
    """What stands before the name of an image model's first layer; None for other tensors."""
    for mark in _MARKS:
        if isinstance(key, str) and f".{key}".endswith(f".{mark}"):
            return key.removesuffix(mark)
    return None


def _without_wrappers(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Without the names that DistributedDataParallel, AveragedModel, torch.compile and FSDP put before a model's."""
    if not all(isinstance(key, str) for key in state):
        raise UserError(f"{source}: not a state dict of tensors: its keys are no names")
    if "n_averaged" in state and any(key.startswith("module.") for key in state):
        log.info("%s: an average of models is taken (torch's AveragedModel)", source)
        state = {key: value for key, value in state.items() if key != "n_averaged"}
    cleaned: dict[str, tuple[str, Tensor]] = {}
    for key, value in state.items():
        name = ".".join(part for part in key.split(".") if part not in _BETWEEN)
        while name.startswith("module."):
            name = name.removeprefix("module.")
        before = cleaned.setdefault(name, (key, value))
        if before[0] != key:
            raise UserError(f"{source}: holds both {before[0]} and {key}; save the ones you want alone")
    return {name: value for name, (_, value) in cleaned.items()}


def _not(others: Iterable[Any], taken: Any = None) -> str:
    names = [repr(key) for key in dict.fromkeys(others) if key != taken]
    return f", not {some(names)}" if names else ""
