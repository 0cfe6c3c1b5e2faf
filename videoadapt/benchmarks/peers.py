"""What others do, written from their formulas, to measure against; the tests hold it to their own outputs."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videoadapt.adapters.kan.linear import KANLinear
from videoadapt.adapters.kan.splines import recursive_basis
from videoadapt.adapters.slots.adapter import Adapter
from videoadapt.adapters.slots.loki import LoKi
from videoadapt.adapters.tuners.karst import KarstLinear


class EfficientKanLinear(KANLinear):
    """efficient-kan's way: the recursion for the bases, and a product each for them and for silu."""

    def forward(self, x: Tensor) -> Tensor:
        cells = (x + 1) * (self.grid_size / 2)
        basis = recursive_basis(cells, self.grid_size, self.spline_order).transpose(-1, -2)
        edges = self.spline_weight * self.spline_scaler.unsqueeze(-1)
        return F.linear(F.silu(x), self.base_weight) + F.linear(basis.flatten(-2), edges.flatten(1))


def composed_loki(dim: int, widths: list[int]) -> LoKi:
    """LoKi put together from efficient-kan's layers."""
    loki = LoKi(dim, widths=widths)
    for layer in loki.kan:
        layer.__class__ = EfficientKanLinear
    return loki


class BuiltKarstLinear(KarstLinear):
    """KARST's way: the weight delta is built in every step."""

    def forward(self, x: Tensor) -> Tensor:
        return self.rst(F.linear(x, self.base.weight + self.delta_weight(), self.base.bias))


class _QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class AimBlock(nn.Module):
    """AIM's block (one adapter in time): CLIP's, on (n bt d), with three adapters."""

    def __init__(self, dim: int, heads: int, frames: int, width: int, scale: float) -> None:
        super().__init__()
        self.frames, self.scale = frames, scale
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads)
        layers = {"c_fc": nn.Linear(dim, 4 * dim), "gelu": _QuickGelu(), "c_proj": nn.Linear(4 * dim, dim)}
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.requires_grad_(False)
        self.T_Adapter, self.S_Adapter, self.MLP_Adapter = (Adapter(dim, widths=[width]) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        t = self.frames
        time = self._attend(rearrange(self.ln_1(x), "n (b t) d -> t (b n) d", t=t))
        x = x + rearrange(self.T_Adapter(time), "t (b n) d -> n (b t) d", n=len(x))
        space = self._attend(self.ln_1(x))
        x = x + (space + self.S_Adapter(space))
        z = self.ln_2(x)
        return x + self.mlp(z) + self.scale * self.MLP_Adapter(z)

    def _attend(self, x: Tensor) -> Tensor:
        return self.attn(x, x, x, need_weights=False)[0]


class Aim(nn.Module):
    """AIM's ``ViT_CLIP``: clips (b c t h w) to a feature for each frame (b d t 1 1) averaged over time, (b d)."""

    def __init__(
        self,
        *,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        patch: int = 16,
        size: int = 224,
        frames: int = 8,
        width: int = 192,
        scale: float = 0.5,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, dim, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(dim) * dim**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn((size // patch) ** 2 + 1, dim) * dim**-0.5)
        self.ln_pre = nn.LayerNorm(dim)
        self.requires_grad_(False)
        self.temporal_embedding = nn.Parameter(torch.zeros(1, frames, dim))
        self.resblocks = nn.Sequential(*(AimBlock(dim, heads, frames, width, scale) for _ in range(depth)))
        self.ln_post = nn.LayerNorm(dim)

    def forward(self, clips: Tensor) -> Tensor:
        return self.features(clips).mean(1)

    def features(self, clips: Tensor) -> Tensor:
        """(b t d)."""
        t = clips.shape[2]
        x = self.conv1(rearrange(clips, "b c t h w -> (b t) c h w")).flatten(2).transpose(1, 2)
        token = self.class_embedding.expand(len(x), 1, -1)
        x = torch.cat([token, x], dim=1) + self.positional_embedding
        frames = rearrange(x, "(b t) n d -> (b n) t d", t=t) + self.temporal_embedding
        x = rearrange(frames, "(b n) t d -> (b t) n d", n=x.shape[1])
        x = self.resblocks(self.ln_pre(x).transpose(0, 1)).transpose(0, 1)
        return rearrange(self.ln_post(x)[:, 0], "(b t) d -> b t d", t=t)
