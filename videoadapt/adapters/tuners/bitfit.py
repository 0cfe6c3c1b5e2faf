"""BitFit: a frozen linear with a bias that learns."""

import torch
from torch import Tensor, nn

from videoadapt.adapters.common import plain_linear


class BitfitLinear(nn.Module):
    """``y = W x + b + delta`` (BitFit, section 3); ``delta`` starts at zero.

    Time and space, two views of one linear, so each get a bias of their own. To train the backbone's own biases,
    those of the LayerNorms included, use ``unfreeze: [bias]``.
    """

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.delta = nn.Parameter(torch.zeros_like(base.weight[:, 0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.delta

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One plain linear that computes the same."""
        bias = self.delta.clone() if self.base.bias is None else self.base.bias + self.delta
        return plain_linear(self.base.weight.clone(), bias)
