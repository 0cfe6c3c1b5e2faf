"""SSF: scaling and shifting the features of a frozen linear."""

import torch
from torch import Tensor, nn

from videoadapt.adapters.common import plain_linear
from videoadapt.adapters.tuners.rescale import rescaled


class SsfLinear(nn.Module):
    """``y = gamma * (W x + b) + beta``, per output channel (SSF, eq. 5).

    The method also scales and shifts after every LayerNorm, which is the same as training its weight and bias:
    ``unfreeze: [norms]``; and after the patch embedding, which has no place here (1,536 of its 205,824 parameters on
    ViT-B/16). ``gamma`` starts at one (at zero with ``zero_start``) and ``beta`` at zero, exactly, where
    the authors' code adds noise of 0.02.
    """

    def __init__(self, base: nn.Linear, *, zero_start: bool = False) -> None:
        super().__init__()
        self.base = base
        self.gamma = nn.Parameter(torch.full_like(base.weight[:, 0], 0.0 if zero_start else 1.0))
        self.beta = nn.Parameter(torch.zeros_like(base.weight[:, 0]))

    def forward(self, x: Tensor) -> Tensor:
        return rescaled(self.base(x), self.gamma, self.beta)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One plain linear that computes the same."""
        bias = self.beta.clone() if self.base.bias is None else self.gamma * self.base.bias + self.beta
        return plain_linear(self.gamma[:, None] * self.base.weight, bias)
