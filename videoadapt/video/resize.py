"""Bringing decoded frames to the size that is asked for."""

from torch import Tensor
from torchvision.transforms.v2 import functional as F


def resize_short_side(frames: Tensor, pixels: int) -> Tensor:
    """(t c h w), its shape kept, with ``pixels`` on the shorter side; antialiased, as it is if it fits."""
    if min(frames.shape[-2:]) == pixels:
        return frames
    return F.resize(frames, [pixels], antialias=True)
