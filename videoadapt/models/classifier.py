"""An image transformer as a classifier of clips and of images."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from videoadapt.layout import Layout


class Classifier(nn.Module):
    """Frames through an image backbone, a mean over time, and a linear head.

    Args:
        backbone: a timm VisionTransformer without a head, its blocks replaced by ``SpaceTimeBlock``s; or another timm
            model without a head, which sees frame by frame.
        num_frames: length t of the learned temporal embedding, or None for images and for clips without one.
            It is added to all tokens of a frame, class token included, before ``norm_pre``, and starts at zero.
        num_classes: outputs of the head; None leaves the pooled feature as the output.
        dropout: on the pooled feature, before the head.
        mean, std: of the pixels the backbone was trained on, in [0, 1], per channel.
        prompt: learned tokens, called with what enters each block.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_frames: int | None = None,
        num_classes: int | None = None,
        dropout: float = 0.0,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
        prompt: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.prompt = backbone, prompt
        width, first = backbone.num_features, next(backbone.parameters())
        like = {"device": first.device, "dtype": first.dtype}
        shape = (num_frames, 1, width)
        self.temporal_embedding = nn.Parameter(torch.zeros(shape, **like)) if num_frames else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_classes, **like) if num_classes else nn.Identity()
        if num_classes:
            nn.init.normal_(self.head.weight, std=0.01)
            nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.tensor(mean, device=like["device"])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std, device=like["device"])[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Clips (b c t h w) or images (b c h w) to logits (b k).

        uint8 pixels are normalised here, on the model's device; floats are taken as normalised already.
        """
        return self.head(self.dropout(self.forward_features(x).mean(1)))

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips (b c t h w) or images (b c h w) to one pooled feature a frame, (b t d)."""
        t = x.shape[2] if x.ndim == 5 else 1
        frames = self._normalised(rearrange(x, "b c t h w -> (b t) c h w") if x.ndim == 5 else x)
        opened = hasattr(self.backbone, "blocks")
        tokens = self._tokens(frames, t) if opened else self.backbone.forward_features(frames)
        pooled = self.backbone.forward_head(tokens, pre_logits=True)
        return rearrange(pooled, "(b t) d -> b t d", t=t)

    def _tokens(self, frames: Tensor, t: int) -> Tensor:
        """What timm's ``forward_features`` does, with the temporal embedding, prompts and the layout of a clip."""
        vit, prefix = self.backbone, self.backbone.num_prefix_tokens
        tokens = vit._pos_embed(vit.patch_embed(frames))
        if self.temporal_embedding is not None:
            tokens = tokens + repeat(
                _resampled(self.temporal_embedding, t), "t 1 d -> (b t) 1 d", b=tokens.shape[0] // t
            )
        tokens = vit.norm_pre(vit.patch_drop(tokens))
        height, width = vit.patch_embed.grid_size
        for depth, block in enumerate(vit.blocks):
            if self.prompt is not None:
                tokens = self.prompt(tokens, prefix, depth)
            tokens = block(tokens, Layout(t, tokens.shape[1] - height * width, height, width))
        return vit.norm(tokens if self.prompt is None else self.prompt.removed(tokens, prefix))

    def fitted(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Stored tensors with their position and temporal embeddings resampled to this model's image and frames."""
        fitted = dict(tensors)
        if (stored := tensors.get("temporal_embedding")) is not None and self.temporal_embedding is not None:
            fitted["temporal_embedding"] = _resampled(stored, self.temporal_embedding.shape[0])
        if (stored := tensors.get("backbone.pos_embed")) is not None and stored.shape != self.backbone.pos_embed.shape:
            size = list(self.backbone.patch_embed.grid_size)
            prefix = 0 if self.backbone.no_embed_class else self.backbone.num_prefix_tokens
            fitted["backbone.pos_embed"] = resample_abs_pos_embed(stored, size, num_prefix_tokens=prefix)
        return fitted

    def _normalised(self, frames: Tensor) -> Tensor:
        if frames.dtype != torch.uint8:
            return frames
        return (frames.to(self.mean.dtype) / 255 - self.mean) / self.std


def _resampled(embedding: Tensor, t: int) -> Tensor:
    """A temporal embedding for t frames, linearly interpolated where it was made for another number."""
    if t == embedding.shape[0]:
        return embedding
    return rearrange(F.interpolate(rearrange(embedding, "t 1 d -> 1 d t"), size=t, mode="linear"), "1 d t -> t 1 d")
