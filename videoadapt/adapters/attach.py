"""Putting adapters into a backbone of space-time blocks, and taking them out again."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import nn

from videoadapt.errors import UserError

Model = TypeVar("Model", bound=nn.Module)
MakeSlot = Callable[[], nn.Module]
MakeTuner = Callable[[nn.Linear], nn.Module]


def fill_slot(blocks: Iterable[nn.Module], slot: str, make: MakeSlot) -> None:
    """A fresh adapter in the same slot of every block."""
    for block in blocks:
        setattr(block, slot, make())


def wrap_linear(holders: Iterable[nn.Module], name: str, make: MakeTuner) -> None:
    """A fresh tuner around the frozen linear ``name`` of every holder; UserError where there is none."""
    for holder in holders:
        if not hasattr(holder, name):
            raise UserError(
                f"model.linears: {type(holder).__name__} in this backbone has no layer {name}; leave it out"
            )
        setattr(holder, name, make(getattr(holder, name)))


def merge_linears(model: Model) -> Model:
    """Replace every tuner by the one plain linear that computes the same; in place. Slots stay as they are."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if merged := getattr(child, "merged", None):
                setattr(parent, name, merged())
    return model


def unfreeze(model: nn.Module, what: Iterable[str]) -> None:
    """Let existing parameters train too.

    Args:
        what: ``norm`` (the final one), ``norms`` (every LayerNorm of the backbone), ``bias`` (its every bias,
            Swin's tables of relative position biases too),
            ``all`` (everything).
    """
    backbone: Any = model.backbone
    last = [backbone.norm, getattr(backbone, "fc_norm", None) or nn.Identity()]
    chosen = {
        "norm": lambda: [p for module in last for p in module.parameters()],
        "norms": lambda: [p for m in backbone.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()],
        "bias": lambda: [p for name, p in backbone.named_parameters() if name.endswith(("bias", "bias_table"))],
        "all": lambda: model.parameters(),
    }
    for word in what:
        for parameter in chosen[word]():
            parameter.requires_grad_(True)
