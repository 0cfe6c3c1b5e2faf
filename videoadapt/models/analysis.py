"""What a model costs: parameters by part, and multiply-adds."""

import re
from collections import Counter

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from videoadapt.models.block import SLOTS

_VIEWS = {"time_attn": "time", "attn": "space", "mlp": "mlp"}
_SLOT = re.compile(rf"blocks\.\d+\.({'|'.join(SLOTS)})\.")
_TUNER = re.compile(r"\.(time_attn|attn|mlp)\.(qkv|proj|fc1|fc2)\.(?!weight$|bias$|base\.)")
_OWN = re.compile(r"^(head|temporal_embedding|prompt)\b")
_FINAL_NORM = re.compile(r"^backbone\.(norm|fc_norm)\.")


def trainable_by_part(model: nn.Module) -> dict[str, int]:
    """Trainable parameters of each slot, each tuned linear, and ``temporal_embedding``, ``prompt``, ``norm``, ``head``.

    ``backbone`` is what else of it trains. Parameters that layers share count once, where they first occur.
    """
    counts: Counter = Counter()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            counts[_part(name)] += parameter.numel()
    return dict(counts)


def gflops_per_view(model: nn.Module, frames: int | None, size: int) -> float:
    """Billions of multiply-adds of one forward pass on a clip (1 3 frames size size), or on an image.

    As the papers count: one multiply-add is one FLOP; convolutions and matrix products, attention included, no
    element-wise work. ``model`` may stand on the meta device.
    """
    device = next(model.parameters()).device
    shape = (1, 3, size, size) if frames is None else (1, 3, frames, size, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.empty(shape, device=device))
    return counter.get_total_flops() / 2e9


def _part(name: str) -> str:
    if found := _SLOT.search(name):
        return found[1]
    if found := _TUNER.search(name):
        return f"{_VIEWS[found[1]]}.{found[2]}"
    if found := _OWN.match(name):
        return found[1]
    return "norm" if _FINAL_NORM.match(name) else "backbone"
