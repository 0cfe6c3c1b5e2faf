"""Re-scaling transmission: what KARST adds to a tuned linear, and what may be added to FacT."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from videoadapt.adapters.common import plain_linear

Rst = Literal["channel", "scalar", "none"]


class Rescale(nn.Module):
    """``(s1 + 1) * y + s2`` (KARST, eq. 4).

    Args:
        base: the linear whose output y is re-scaled.
        rst: s1 and s2 per output channel, as one scalar each, or none, which leaves y as it is.
        zero_start: begin at zero instead of at y, by s1 = -1; needs s1.
    """

    def __init__(self, base: nn.Linear, rst: Rst, zero_start: bool = False) -> None:
        super().__init__()
        if zero_start and rst == "none":
            raise ValueError("rst: none cannot start at zero; use rst: channel or scalar")
        like: dict[str, Any] = {"device": base.weight.device, "dtype": base.weight.dtype}
        size = {"channel": base.out_features, "scalar": 1}.get(rst)
        self.s1 = nn.Parameter(torch.full((size,), -1.0 if zero_start else 0.0, **like)) if size else None
        self.s2 = nn.Parameter(torch.zeros(size, **like)) if size else None

    def forward(self, y: Tensor) -> Tensor:
        return y if self.s1 is None or self.s2 is None else (self.s1 + 1) * y + self.s2

    def folded(self, weight: Tensor, bias: Tensor | None) -> nn.Linear:
        """One plain linear for a re-scaled ``weight x + bias``."""
        if self.s1 is None or self.s2 is None:
            return plain_linear(weight, bias)
        gain = (self.s1 + 1).expand(weight.shape[0])
        shift = self.s2.expand_as(gain).clone()
        return plain_linear(gain[:, None] * weight, shift if bias is None else gain * bias + shift)
