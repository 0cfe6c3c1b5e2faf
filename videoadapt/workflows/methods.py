"""The methods by name, in the sizes of their papers for ViT-B/16 and in proportion for other widths."""

from collections.abc import Callable
from typing import Any

from videoadapt.errors import UserError, nearest

Changes = dict[str, Any]  # of a model section


def method_changes(method: str, width: int, video: bool) -> Changes:
    """What a method adds to a backbone of ``width`` channels, in time too if it is for videos."""
    if method not in METHODS:
        raise UserError(f"method '{method}': {nearest(method, METHODS)}")
    return METHODS[method](width, video)


def _loki(width: int, video: bool) -> Changes:
    n = max(width // 16, 4)
    return _adapters({"kind": "loki", "widths": [n, 2 * n + 1, n]}, 2.0, video)


def _aim(width: int, video: bool) -> Changes:
    return _adapters({"kind": "adapter", "widths": [width // 4]}, 0.5, video)


def _adapters(spec: dict, mlp_scale: float, video: bool) -> Changes:
    """In the three places of AIM and LoKi."""
    time = {"time_out": spec} if video else {}
    return {"slots": {**time, "space_out": spec, "mlp_side": {**spec, "scale": mlp_scale}}, "unfreeze": ["norm"]}


def _karst(width: int, video: bool) -> Changes:
    ends, others = {"kind": "karst", "rst": "channel"}, {"kind": "karst"}
    attention = {"qkv": others, "proj": ends}
    time = {"time": attention} if video else {}
    return {"linears": {**time, "space": attention, "mlp": {"fc1": others, "fc2": ends}}, "unfreeze": ["norm"]}


def _lora(width: int, video: bool) -> Changes:
    attention = {"qkv": {"kind": "lora"}, "proj": {"kind": "lora"}}
    return {"linears": {**({"time": attention} if video else {}), "space": attention}, "unfreeze": ["norm"]}


def _st_adapter(width: int, video: bool) -> Changes:
    return {"slots": {"space_in": {"kind": "st_adapter", "width": width // 2}}, "unfreeze": ["norm"]}


def _adaptformer(width: int, video: bool) -> Changes:
    return {"slots": {"mlp_side": {"kind": "adaptformer", "width": width // 12}}, "unfreeze": ["norm"]}


def _linear(width: int, video: bool) -> Changes:
    return {}


METHODS: dict[str, Callable[[int, bool], Changes]] = {
    "adaptformer": _adaptformer,
    "aim": _aim,
    "karst": _karst,
    "linear": _linear,
    "loki": _loki,
    "lora": _lora,
    "st_adapter": _st_adapter,
}
