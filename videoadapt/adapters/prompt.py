"""Visual prompt tuning: neither a slot nor a linear, so it has a place of its own."""

import math

import torch
from torch import Tensor, nn

from videoadapt.adapters.common import Dropout, Size


class Prompt(nn.Module):
    """Learned tokens between the prefix (class and register tokens) and the patches of every frame (VPT, section 3.2).

    Shallow: ``[prefix, P, patches]`` enters the first block, and P goes through all blocks. Deep: each block gets a
    P of its own, in place of what the block before made of the last one. They leave before the final norm. The one
    method here whose fresh model differs from the frozen one: the tokens are attended to.

    Args:
        dim: width d of the tokens.
        depth: number of blocks.
        patch: side of a patch in pixels, for the paper's uniform start.
        tokens: number p of prompt tokens; 200 for images in LoKi's table 1.
        deep: P for every block instead of for the first alone.
        dropout: on P.
    """

    def __init__(
        self, dim: int, depth: int, patch: int, *, tokens: Size = 50, deep: bool = False, dropout: Dropout = 0.0
    ) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(depth if deep else 1, tokens, dim))
        bound = math.sqrt(6 / (3 * patch**2 + dim))
        nn.init.uniform_(self.tokens, -bound, bound)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, prefix: int, depth: int) -> Tensor:
        """What enters block number ``depth``: (b n d), from there on (b n+p d)."""
        if depth >= len(self.tokens):
            return x
        prompts = self.dropout(self.tokens[depth].to(x.dtype).expand(x.shape[0], -1, -1))
        rest = prefix if depth == 0 else prefix + prompts.shape[1]
        return torch.cat([x[:, :prefix], prompts, x[:, rest:]], dim=1)

    def removed(self, x: Tensor, prefix: int) -> Tensor:
        """(b n+p d) without the prompts, (b n d)."""
        return torch.cat([x[:, :prefix], x[:, prefix + self.tokens.shape[1] :]], dim=1)
