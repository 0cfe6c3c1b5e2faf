"""LoRA: a low-rank update beside a frozen linear."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt.adapters.common import Dropout, Size, fused_parts, plain_linear
from videoadapt.adapters.tuners.factored import Factors, factored


class LoraLinear(nn.Module):
    """``y = W x + b + (alpha / rank) B A dropout(x)``, merged: ``W + (alpha / rank) B A``.

    Args:
        base: the frozen linear.
        rank: of each update.
        alpha: numerator of the scale, the rank by default (scale 1).
        parts: equal slices of the output, each with its own A (rank in) and B (out/parts rank); 3 for a fused qkv.
        zero_start: begin at zero instead of at the frozen function, through a trainable gain on every output
            channel, ``y = gain * (...)`` with gain 0: for a branch that must not speak before training.

    ``A`` starts uniform as in the LoRA paper's code, ``B`` at zero.
    """

    def __init__(
        self,
        base: nn.Linear,
        *,
        rank: Size = 4,
        alpha: float | None = None,
        dropout: Dropout = 0.0,
        parts: Size | None = None,
        zero_start: bool = False,
    ) -> None:
        super().__init__()
        self.base, self.parts = base, parts or fused_parts(base)
        if base.out_features % self.parts:
            raise ValueError(f"parts={parts} must divide {base.out_features} outputs")
        self.scale = (rank if alpha is None else alpha) / rank
        like: dict[str, Any] = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.lora_a = nn.Parameter(torch.empty(self.parts, rank, base.in_features, **like))
        self.lora_b = nn.Parameter(torch.zeros(self.parts, base.out_features // self.parts, rank, **like))
        self.gain = nn.Parameter(torch.zeros(base.out_features, **like)) if zero_start else None
        self.dropout = nn.Dropout(dropout)
        for a in self.lora_a:
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        dropping = self.training and self.dropout.p > 0
        if dropping or torch.compiler.is_compiling():
            y = self.base(x).add_(self._delta(x), alpha=self.scale)
        else:
            y = factored(x, self.base, self._factors())
        return y if self.gain is None else self.gain * y

    def _delta(self, x: Tensor) -> Tensor:
        down = F.linear(self.dropout(x), self.lora_a.flatten(0, 1)).unflatten(-1, (self.parts, -1))
        return torch.einsum("...pr,por->...po", down, self.lora_b).flatten(-2)

    def _factors(self) -> Factors:
        """All parts at once: B is zero from one part's rank to another's outputs."""
        up = self.lora_b if self.scale == 1 else self.scale * self.lora_b
        if self.parts > 1:
            up = torch.diag_embed(up.permute(2, 1, 0), dim1=0, dim2=2).flatten(2).flatten(0, 1)[None].mT
        return Factors(self.lora_a.flatten(0, 1).t(), None, up.mT)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One plain linear that computes the same (dropout off)."""
        weight = self.base.weight + self.scale * (self.lora_b @ self.lora_a).flatten(0, 1)
        gain = torch.ones_like(weight[:, 0]) if self.gain is None else self.gain
        bias = None if self.base.bias is None else gain * self.base.bias
        return plain_linear(gain[:, None] * weight, bias)
