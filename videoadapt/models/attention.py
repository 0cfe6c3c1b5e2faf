"""Where a model looks: the attention of its class token, and of frames to frames."""

from functools import reduce
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt.errors import UserError
from videoadapt.models.block import second_view
from videoadapt.models.classifier import Classifier


class Attention(NamedTuple):
    """The attention of one clip, block by block and averaged over heads: rows look at columns and sum to 1.

    ``time`` is averaged over the tokens of a frame and empty without a time branch.
    """

    space: list[Tensor]  # (t n n)
    time: list[Tensor]  # (t t)
    prefix: int  # tokens before the patches: the class token, registers
    grid: tuple[int, int]  # patches down and across


@torch.inference_mode()
def attend(model: Classifier, clip: Tensor) -> Attention:
    """What happens inside ``model(clip)`` for one clip (1 c t h w) or image (1 c h w)."""
    backbone = model.backbone
    if not hasattr(backbone, "blocks") or getattr(backbone, "cls_token", None) is None:
        raise UserError("attention maps are those of a class token; this backbone has none")
    space, time = _Recorder(), _Recorder()
    blocks = [_recorded(block, space, time) for block in backbone.blocks]
    watched = second_view(model)
    watched.backbone = second_view(backbone)
    watched.backbone.blocks = nn.Sequential(*blocks)
    watched(clip)
    per_frame = [weights.mean(1) for weights in space.seen]
    between = [weights.mean((0, 1)) for weights in time.seen]
    return Attention(per_frame, between, backbone.num_prefix_tokens, backbone.patch_embed.grid_size)


def class_token_maps(attention: Attention, block: int = -1) -> Tensor:
    """What the class token of a block looks at (LoKi, figure 5): (t height width), prompts and registers left out."""
    height, width = attention.grid
    return attention.space[block][:, 0, -height * width :].unflatten(1, (height, width))


def rollout_maps(attention: Attention) -> Tensor:
    """The class token's attention followed back through all blocks (Abnar and Zuidema, 2020): (t height width).

    Each block counts as half attention and half residual; prompt tokens are left out.
    """
    height, width = attention.grid

    def step(weights: Tensor) -> Tensor:
        kept = torch.cat([weights[..., : attention.prefix], weights[..., -height * width :]], -1)
        kept = torch.cat([kept[:, : attention.prefix], kept[:, -height * width :]], 1)
        return (F.normalize(kept, p=1, dim=-1) + torch.eye(kept.shape[-1], device=kept.device)) / 2

    whole = reduce(lambda before, block: block @ before, map(step, attention.space))
    return whole[:, 0, -height * width :].unflatten(1, (height, width))


class _Recorder(nn.Module):
    """Stands where timm drops attention weights out, and keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, weights: Tensor) -> Tensor:
        self.seen.append(weights)
        return weights


def _recorded(block: nn.Module, space: _Recorder, time: _Recorder) -> nn.Module:
    """A second view of a block whose attentions compute their weights in the open."""
    block = second_view(block)
    for name, recorder in (("attn", space), ("time_attn", time)):
        if getattr(block, name) is not None:
            attention: Any = second_view(getattr(block, name))
            attention.fused_attn, attention.attn_drop = False, recorder
            setattr(block, name, attention)
    return block
