"""An image transformer as a classifier of clips and of images."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from videoadapt.layout import Layout
from videoadapt.precision import without_autocast


class Classifier(nn.Module):
    """Frames through an image backbone, a mean over time, and a linear head.

    Args:
        backbone: a timm VisionTransformer without a head, its blocks replaced by ``SpaceTimeBlock``s; or another timm
            model without a head, which sees frame by frame.
        num_frames: length t of the learned temporal embedding, or None for images and for clips without one.
            It is added to all tokens of a frame, class token included, before ``norm_pre``, and starts at zero.
        num_classes: outputs of the head; None leaves the pooled feature as the output.
        dropout: on the pooled feature, before the head.
        mean: of the pixels the backbone was trained on, in [0, 1], per channel.
        std: their standard deviation, in the same way.
        prompt: learned tokens, called with what enters each block.
    """

    # Any: timm's and the prompt's own attributes, where torch promises tensors and modules alone
    backbone: Any
    prompt: Any
    mean: Tensor
    std: Tensor
    # Set where a model is built from a config, and where it is read from a checkpoint
    fingerprint: str | None  # of the frozen weights
    config: Any
    classes: list[str]

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
        width, first = self.backbone.num_features, next(backbone.parameters())
        like: dict[str, Any] = {"device": first.device, "dtype": first.dtype}
        self.temporal_embedding = nn.Parameter(torch.zeros(num_frames, 1, width, **like)) if num_frames else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_classes, **like) if num_classes else nn.Identity()
        if isinstance(self.head, nn.Linear):
            nn.init.normal_(self.head.weight, std=0.01)
            nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.tensor(mean, device=like["device"])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std, device=like["device"])[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Clips (b c t h w) or images (b c h w) to logits (b k).

        uint8 pixels are normalised here, on the model's device. Floats are taken as normalised already, unless none is
        negative and they fill [0, 1] or [0, 255]: these are pixels, are normalised too, and a warning says so once.
        """
        return self.classify(self._embedded(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips (b c t h w) or images (b c h w) to one pooled feature a frame, (b t d)."""
        return self.features(self._embedded(x))

    def embed(self, frames: Tensor) -> Tensor:
        """Frames (n c h w) as far as each goes alone: tokens (n tokens d) where the frames of a clip meet, else (n d).

        What clips have in common need be embedded only once.
        """
        frames = self._normalised(frames)
        if not hasattr(self.backbone, "blocks"):
            return self._pooled(self.backbone.forward_features(frames))
        tokens = self.backbone._pos_embed(self.backbone.patch_embed(frames))
        return tokens if self._frames_meet() else self._pooled(self._through_blocks(tokens, 1))

    def features(self, embedded: Tensor) -> Tensor:
        """What ``embed`` made, (b t ...), to one pooled feature a frame, (b t d)."""
        if embedded.ndim == 3:  # features already, since no frames meet
            return embedded
        t = embedded.shape[1]
        pooled = self._pooled(self._through_blocks(embedded.flatten(0, 1), t))
        return rearrange(pooled, "(b t) d -> b t d", t=t)

    def classify(self, embedded: Tensor) -> Tensor:
        """What ``embed`` made, (b t ...), to logits (b k). Autocast leaves the head its own precision."""
        features = self.features(embedded)
        with without_autocast(features.device.type):
            return self.head(self.dropout(features.to(self.mean.dtype).mean(1)))

    def _embedded(self, x: Tensor) -> Tensor:
        t = x.shape[2] if x.ndim == 5 else 1
        embedded = self.embed(rearrange(x, "b c t h w -> (b t) c h w") if x.ndim == 5 else x)
        return rearrange(embedded, "(b t) ... -> b t ...", t=t)

    def _frames_meet(self) -> bool:
        """In what the model computes, or because they are dropped together."""
        blocks = self.backbone.blocks
        dropped = self.training and any(block.drop_path for block in blocks)
        return self.temporal_embedding is not None or dropped or any(block.mixes_frames() for block in blocks)

    def _pooled(self, tokens: Tensor) -> Tensor:
        return self.backbone.forward_head(tokens, pre_logits=True)

    def _through_blocks(self, tokens: Tensor, t: int) -> Tensor:
        """The rest of timm's ``forward_features``, with the temporal embedding, prompts and the layout of a clip."""
        vit, prefix = self.backbone, self.backbone.num_prefix_tokens
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
            brightest = _brightest(frames)
            if brightest is None:
                return frames
            warnings.warn(f"floats in [0, {brightest}] are taken for pixels and normalised; pass uint8", stacklevel=2)
            frames = frames * (255 / brightest)
        return (frames.to(self.mean.dtype) / 255 - self.mean) / self.std


def _brightest(frames: Tensor) -> int | None:
    """What stands for white, 1 or 255, if floats look like pixels; normalised ones reach below 0, or not as high."""
    if frames.is_meta or not frames.numel() or torch.compiler.is_compiling():
        return None  # there are no values to look at
    low, high = torch.stack(frames.detach().aminmax()).tolist()
    if low >= 0 and high <= 1:
        return 1
    return 255 if low >= 0 and 8 < high <= 255 else None


def _resampled(embedding: Tensor, t: int) -> Tensor:
    """A temporal embedding for t frames, linearly interpolated where it was made for another number."""
    if t == embedding.shape[0]:
        return embedding
    return rearrange(F.interpolate(rearrange(embedding, "t 1 d -> 1 d t"), size=t, mode="linear"), "1 d t -> t 1 d")
