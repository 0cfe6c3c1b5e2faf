"""The space-time block: a pretrained transformer block, opened for adapters."""

import copy
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

SLOTS = ("time_in", "time_out", "space_in", "space_out", "mlp_in", "mlp_side")
SITES = ("time.qkv", "time.proj", "space.qkv", "space.proj", "mlp.fc1", "mlp.fc2")
Order = Literal["time_first", "space_first"]


class SpaceTimeBlock(nn.Module):
    """A frozen timm ViT block with six slots, and its attention seen a second time along the frames.

    A slot holds None or a module that maps tokens to a *delta* of the same shape, zero when fresh; the block owns
    every residual sum. Without a time branch it is the image model's block, frame by frame. With one, the same
    frozen norm and attention also run along time, without an inner residual (LoKi section 3.2, AIM section 3.3)::

        time    x = x + drop_path( time_out( attn( y + time_in(y) ) ) ),  y = norm1(x) as (b n) t d
        space   x = x + space_in(x);  a = attn( norm1(x) );  x = x + a + space_out(a)
        mlp     x = x + mlp_in(x);    z = norm2(x);          x = x + mlp(z) + drop_path( mlp_side(z) )

    Parameters keep timm's names; ``time_attn`` shares the frozen linears of ``attn`` but wears its own tuners.
    """

    def __init__(
        self, block: nn.Module, *, time: bool = False, order: Order = "time_first", drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1 = block.norm1, block.attn, block.ls1
        self.norm2, self.mlp, self.ls2 = block.norm2, block.mlp, block.ls2
        self.time_attn = second_view(block.attn) if time else None
        self.order, self.drop_path = order, drop_path
        for slot in SLOTS:
            self.register_module(slot, None)

    def forward(self, x: Tensor, t: int = 1) -> Tensor:
        """Tokens ((b t) n d) to tokens of the same shape; ``t`` frames a clip."""
        if self.time_attn is None:
            return self._mlp(self._space(x), t)
        if self.order == "space_first":
            return self._mlp(self._time(self._space(x), t), t)
        return self._mlp(self._space(self._time(x, t)), t)

    def _time(self, x: Tensor, t: int) -> Tensor:
        y = rearrange(self.norm1(x), "(b t) n d -> (b n) t d", t=t)
        y = self.ls1(self.time_attn(_plus(y, self.time_in)))
        y = y if self.time_out is None else self.time_out(y)
        return x + self._drop(rearrange(y, "(b n) t d -> (b t) n d", n=x.shape[1]), t)

    def _space(self, x: Tensor) -> Tensor:
        x = _plus(x, self.space_in)
        return x + _plus(self.ls1(self.attn(self.norm1(x))), self.space_out)

    def _mlp(self, x: Tensor, t: int) -> Tensor:
        x = _plus(x, self.mlp_in)
        z = self.norm2(x)
        x = x + self.ls2(self.mlp(z))
        return x if self.mlp_side is None else x + self._drop(self.mlp_side(z), t)

    def _drop(self, x: Tensor, t: int) -> Tensor:
        """Stochastic depth by whole clips: all frames of a clip keep a branch or lose it together."""
        if not self.training or self.drop_path == 0.0:
            return x
        keep = 1 - self.drop_path
        clips = torch.empty(x.shape[0] // t, device=x.device, dtype=x.dtype).bernoulli_(keep) / keep
        return x * clips.repeat_interleave(t)[:, None, None]

    def linear(self, site: str) -> tuple[nn.Module, str]:
        """The module that holds a site of ``SITES`` and the attribute's name, e.g. (attn, "qkv")."""
        view, name = site.split(".")
        return {"time": self.time_attn, "space": self.attn, "mlp": self.mlp}[view], name


def second_view(module: nn.Module) -> nn.Module:
    """The same module again, sharing every parameter and child, whose children can be replaced on their own."""
    view = copy.copy(module)
    view._modules = dict(module._modules)
    return view


def _plus(x: Tensor, slot: nn.Module | None) -> Tensor:
    return x if slot is None else x + slot(x)
