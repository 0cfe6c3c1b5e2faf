"""What the adapters share."""

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

Size = Annotated[int, Field(ge=1)]
Widths = Annotated[list[Size], Field(min_length=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


def fused_parts(linear: nn.Linear) -> int:
    """3 for a fused qkv, recognised by its shape, else 1: updates treat q, k and v as layers of their own."""
    return 3 if linear.out_features == 3 * linear.in_features else 1


def plain_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A frozen ``nn.Linear`` that holds these tensors."""
    linear = nn.Linear(*reversed(weight.shape), bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    linear.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return linear


def start_at_zero(layer: nn.Linear | nn.Conv1d) -> None:
    """Weight and bias to zero: the layer's output, and all that only scales it, starts at nothing."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def without_autocast(device: str) -> AbstractContextManager:
    """Operations in the precision of their operands."""
    available = torch.amp.is_autocast_available(device)  # not on the meta device
    return torch.autocast(device, enabled=False) if available else nullcontext()
