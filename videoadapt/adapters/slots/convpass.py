"""Convpass: a convolutional bypass, for the locality that attention lacks."""

import torch
from einops import rearrange
from timm.layers import QuickGELU
from torch import Tensor, nn

from videoadapt.adapters.common import Dropout, Size, scaled, start_at_zero
from videoadapt.layout import Layout


class Convpass(nn.Module):
    """``Convpass(z) = scale * W_up dropout( g( conv( g(W_down z) ) ) )``, g = QuickGELU (Convpass, section 3.2).

    ``conv`` is 3x3 over the patches of a frame; a class, register or prompt token is a picture of one pixel. Its
    places are ``space_side`` and ``mlp_side``, beside attention and MLP. ``conv`` starts as the identity, ``W_up``
    at zero.

    Args:
        dim: width D of the tokens.
        width: of the bottleneck, 8 in the paper.
        scale: s, one of 0.01, 0.1, 1, 10, 100 in the paper.
    """

    needs_layout = True

    def __init__(self, dim: int, *, width: Size = 8, scale: float = 1.0, dropout: Dropout = 0.0) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)
        self.conv, self.act = nn.Conv2d(width, width, 3, padding=1), QuickGELU()
        self.dropout, self.scale = nn.Dropout(dropout), scale
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.zeros_(self.down.bias)
        start_at_zero(self.conv)
        nn.init.dirac_(self.conv.weight)
        start_at_zero(self.up)

    def forward(self, z: Tensor, layout: Layout) -> Tensor:
        y = self.act(self.down(z))
        pixels, patches = y[:, : layout.prefix], y[:, layout.prefix :]
        pixels = self.conv(pixels.reshape(-1, y.shape[-1], 1, 1)).view(pixels.shape)
        patches = self.conv(rearrange(patches, "b (h w) d -> b d h w", h=layout.height))
        y = torch.cat([pixels, rearrange(patches, "b d h w -> b (h w) d")], dim=1)
        return scaled(self.scale, self.up(self.dropout(self.act(y))))
