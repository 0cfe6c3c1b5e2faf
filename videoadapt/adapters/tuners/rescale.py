"""Re-scaling transmission: what KARST adds to a tuned linear, and what may be added to FacT."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from videoadapt.adapters.common import plain_linear
from videoadapt.layout import Origin, remembering

Rst = Literal["channel", "scalar", "none"]


def rescaled(y: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """``gain * y + shift`` in y's dtype, for gain and shift per channel or one for all; y is its origin."""
    if torch.compiler.is_compiling():
        return (gain * y + shift).to(y.dtype)
    fixed = gain.detach(), shift.detach()
    return remembering(_Rescaled.apply(y, gain, shift), Origin(lambda y: _rescale(y, *fixed), y))


class _Rescaled(torch.autograd.Function):
    """Keeps y alone, and stays in 16 bits where torch would promote to 32."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(y, gain)
        return _rescale(y, gain, shift)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, gain = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        work = rows * y.reshape(rows.shape)
        grad_gain, grad_shift = (x.sum(0, dtype=gain.dtype).sum_to_size(gain.shape) for x in (work, rows))
        return torch.mul(rows, gain, out=work).view_as(y), grad_gain, grad_shift


def _rescale(y: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return torch.addcmul(shift, gain, y, out=torch.empty_like(y))


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
        return y if self.s1 is None or self.s2 is None else rescaled(y, self.s1 + 1, self.s2)

    def folded(self, weight: Tensor, bias: Tensor | None) -> nn.Linear:
        """One plain linear for a re-scaled ``weight x + bias``."""
        if self.s1 is None or self.s2 is None:
            return plain_linear(weight, bias)
        gain = (self.s1 + 1).expand(weight.shape[0])
        shift = self.s2.expand_as(gain).clone()
        return plain_linear(gain[:, None] * weight, shift if bias is None else gain * bias + shift)
