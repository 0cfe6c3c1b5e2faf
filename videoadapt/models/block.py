"""The space-time block: a pretrained transformer block, opened for adapters."""

import copy
from typing import Literal, TypeVar

import torch
from einops import rearrange
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from videoadapt.layout import Layout, made, origin_of
from videoadapt.models.time_attention import along_time

Order = Literal["time_first", "space_first"]
DropPathOn = Literal["adapters", "branches"]
SLOTS = ("time_in", "time_out", "space_in", "space_out", "space_side", "mlp_in", "mlp_side")
AnyModule = TypeVar("AnyModule", bound=nn.Module)


class SpaceTimeBlock(nn.Module):
    """A frozen timm ViT block with seven slots, and its attention seen a second time along the frames.

    A slot holds None or a module that maps tokens to a *delta* of the same shape, zero when fresh; the block owns
    every residual sum. Without a time branch it is the image model's block, frame by frame. With one, the same
    frozen norm and attention also run along time, without an inner residual (LoKi section 3.2, AIM section 3.3)::

        time    x = x + time_out( attn( y + time_in(y) ) ),  y = norm1(x) as (b n) t d
        space   x = x + space_in(x);  z = norm1(x);  a = attn(z);  x = x + a + space_out(a) + space_side(z)
        mlp     x = x + mlp_in(x);    z = norm2(x);                x = x + mlp(z) + mlp_side(z)

    Parameters keep timm's names; ``time_attn`` shares the frozen linears of ``attn`` but wears its own tuners. With
    ``checkpointing`` set to ``mlp`` or ``block``, what is inside the MLP, or in all three branches, is computed again
    for the backward pass and not kept.

    Args:
        drop_path: rate of stochastic depth, by whole clips: all frames of a clip keep a branch or lose it together.
        drop_path_on: ``adapters`` drops the time branch and ``mlp_side``, as AIM does; ``branches`` drops time,
            space and mlp whole, as image recipes do.
        space_residual: False leaves out the ``a`` beside ``space_out(a)``, as in the pseudo-code of LoKi's supplement
            (its text keeps it); the fresh model is then not the frozen one.
    """

    time_attn: nn.Module | None
    time_in: nn.Module | None
    time_out: nn.Module | None
    space_in: nn.Module | None
    space_out: nn.Module | None
    space_side: nn.Module | None
    mlp_in: nn.Module | None
    mlp_side: nn.Module | None

    def __init__(
        self,
        block: Block,
        *,
        time: bool = False,
        order: Order = "time_first",
        drop_path: float = 0.0,
        drop_path_on: DropPathOn = "adapters",
        space_residual: bool = True,
    ) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1 = block.norm1, block.attn, block.ls1
        self.norm2, self.mlp, self.ls2 = block.norm2, block.mlp, block.ls2
        self.time_attn = along_time(second_view(block.attn)) if time else None
        time_and_space = ("time", "space") if order == "time_first" else ("space", "time")
        self.views = time_and_space if time else ("space",)
        self.drop_path, self.drop_path_on, self.checkpointing = drop_path, drop_path_on, "none"
        self.space_residual = space_residual
        for slot in SLOTS:
            self.register_module(slot, None)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Tokens ((b t) n d) to tokens of the same shape."""
        branches = {"time": self._time, "space": self._space}
        again = self.checkpointing == "block" and torch.is_grad_enabled()
        for branch in (*(branches[name] for name in self.views), self._mlp):
            x = checkpoint(branch, x, layout, use_reentrant=False) if again else branch(x, layout)
        return x

    def mixes_frames(self) -> bool:
        """Whether the frames of a clip see each other here."""
        slots = (getattr(self, slot) for slot in SLOTS)
        return self.time_attn is not None or any(getattr(slot, "mixes_frames", False) for slot in slots)

    def _time(self, x: Tensor, layout: Layout) -> Tensor:
        def turned(x: Tensor) -> Tensor:
            # For a single clip, the turned tokens are a view: contiguous, the linears take them in one product.
            return rearrange(self.norm1(x), "(b t) n d -> (b n) t d", t=layout.t).contiguous()

        y = made(turned, x)
        y = self.ls1(self.time_attn(_plus(y, self.time_in, layout)))  # type: ignore[misc]  # in views, so not None
        y = y if self.time_out is None else self.time_out(y)
        return x + self._dropped(rearrange(y, "(b n) t d -> (b t) n d", n=x.shape[1]), layout.t)

    def _space(self, x: Tensor, layout: Layout) -> Tensor:
        x = _plus(x, self.space_in, layout)
        z = made(self.norm1, x)
        a = self.ls1(self.attn(z))
        out = _plus if self.space_residual else _delta
        a = out(a, self.space_out, layout)  # type: ignore[arg-type]  # filled where there is no residual
        if self.space_side is not None:
            a = a + _delta(z, self.space_side, layout)
        return x + (self._dropped(a, layout.t) if self.drop_path_on == "branches" else a)

    def _mlp(self, x: Tensor, layout: Layout) -> Tensor:
        x = _plus(x, self.mlp_in, layout)
        z = made(self.norm2, x)
        # Before the MLP: what is computed last is not computed again under checkpointing, unless something keeps it.
        side = None if self.mlp_side is None else _delta(z, self.mlp_side, layout)
        again = self.checkpointing == "mlp" and torch.is_grad_enabled()
        y = self.ls2(checkpoint(self._norm_and_mlp, x, use_reentrant=False) if again else self.mlp(z))
        if self.drop_path_on == "branches":
            return x + self._dropped(y if side is None else y + side, layout.t)
        x = x + y
        return x if side is None else x + self._dropped(side, layout.t)

    def _norm_and_mlp(self, x: Tensor) -> Tensor:
        return self.mlp(made(self.norm2, x))

    def _dropped(self, x: Tensor, t: int) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return x
        keep = 1 - self.drop_path
        clips = torch.empty(x.shape[0] // t, device=x.device, dtype=x.dtype).bernoulli_(keep) / keep
        return x * clips.repeat_interleave(t)[:, None, None]


def second_view(module: AnyModule) -> AnyModule:
    """The same module again, sharing every parameter and child, whose children can be replaced on their own."""
    view = copy.copy(module)
    view._modules = dict(module._modules)
    return view


def _delta(x: Tensor, slot: nn.Module, layout: Layout) -> Tensor:
    if getattr(slot, "needs_layout", False):
        return slot(x, layout)
    return slot(x, origin_of(x)) if getattr(slot, "takes_origin", False) else slot(x)


def _plus(x: Tensor, slot: nn.Module | None, layout: Layout) -> Tensor:
    return x if slot is None else x + _delta(x, slot, layout)
