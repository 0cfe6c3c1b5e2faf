"""timm's attention along the few frames of a clip."""

from typing import Any

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from videoadapt.gpu import has_kernels


def along_time(attention: nn.Module) -> nn.Module:
    """The same module, which from now on attends along time; another kind than timm's standard one stays as it is."""
    if type(attention) is Attention:
        attention.__class__ = TimeAttention
    return attention


class TimeAttention(Attention):
    """As timm's; on a GPU in one kernel, which takes several places of a clip together.

    Libraries compute in tiles of 128 tokens, of which eight frames fill a sixteenth by a sixteenth.
    """

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        if attn_mask is not None or is_causal or not self._is_plain(x):
            return super().forward(x, attn_mask, is_causal)
        return self.proj_drop(self.proj(_Attend.apply(self.qkv(x), self.num_heads, self.scale)))

    def _is_plain(self, x: Tensor) -> bool:
        """Whether the kernel computes what timm would: no dropout or norm inside, and nothing that looks at scores."""
        if not has_kernels(x) or not self.fused_attn:
            return False
        from videoadapt.models.triton_kernels import MOST_FRAMES

        norms = (self.q_norm, self.k_norm, getattr(self, "norm", None))
        return (
            0 < x.shape[1] <= MOST_FRAMES
            and len(x) > 0
            and all(norm is None or type(norm) is nn.Identity for norm in norms)
            and getattr(self, "gate", None) is None
            and not (self.training and self.attn_drop.p)
        )


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, scale: float) -> Tensor:
        from videoadapt.models import triton_kernels

        ctx.save_for_backward(qkv)
        ctx.heads, ctx.scale = heads, scale
        return triton_kernels.attend(qkv, heads, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        from videoadapt.models import triton_kernels

        (qkv,) = ctx.saved_tensors
        return triton_kernels.attend_backward(grad, qkv, ctx.heads, ctx.scale), None, None
