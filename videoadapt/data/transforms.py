"""Frames to network input: torchvision v2 on uint8 clips, one random draw for all frames of a clip."""

from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from videoadapt.video.resize import resize_short_side


class TrainTransform:
    """Random resized crop, flip, RandAugment and erasing: (t c h w) uint8 to (t c size size) uint8.

    Draws from torch's global generator of the CPU, which is seeded for each sample, wherever the frames are.

    Args:
        squash: resize the whole frame to the square instead of cropping.
        rand_augment: number of operations and their magnitude on a scale of 30, or None.
        erasing: probability that a box is painted over with ``mean``, rgb in [0, 1].
    """

    def __init__(
        self,
        size: int,
        *,
        scale: tuple[float, float],
        ratio: tuple[float, float],
        flip: float = 0.0,
        squash: bool = False,
        rand_augment: tuple[int, int] | None = None,
        erasing: float = 0.0,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
    ) -> None:
        crop = v2.RandomResizedCrop(size, scale=scale, ratio=ratio, antialias=True)
        chain = [v2.Resize((size, size), antialias=True) if squash else crop, v2.RandomHorizontalFlip(flip)]
        if rand_augment:
            chain.append(v2.RandAugment(*rand_augment, interpolation=v2.InterpolationMode.BILINEAR))
        if erasing:
            chain.append(_Erasing(erasing, value=[round(255 * channel) for channel in mean]))
        self._chain = v2.Compose(chain)

    def __call__(self, frames: Tensor) -> Tensor:
        return self._chain(frames)


class _Erasing(v2.RandomErasing):
    """Paints with numbers: a tensor of colours would have to be copied to the frames' device, which waits for it."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        if params["v"] is None:
            return inpt
        painted = inpt.clone()
        rows, columns = (slice(params[at], params[at] + params[side]) for at, side in ("ih", "jw"))
        for channel, value in enumerate(self.value):
            painted[..., channel, rows, columns] = value
        return painted


class TestTransform:
    """Short side to ``resize``, then 1 or 3 square crops: (t c h w) uint8 to (crops t c size size) uint8.

    With ``squash`` the whole frame becomes the one square.
    """

    def __init__(self, size: int, resize: int, crops: int, squash: bool = False) -> None:
        self.size, self.resize, self.crops, self.squash = size, resize, crops, squash

    def __call__(self, frames: Tensor) -> Tensor:
        frames, windows = self.cut(frames)
        return torch.stack([frames[..., rows, columns] for rows, columns in windows])

    def cut(self, frames: Tensor) -> tuple[Tensor, tuple[tuple[slice, slice], ...]]:
        """The resized frames, no larger than the crops need, and the window (rows, columns) of each crop in them."""
        if self.squash:
            frames = F.resize(frames, [self.size, self.size], antialias=True)
        else:
            frames = resize_short_side(frames, self.resize)
        height, width = frames.shape[-2:]
        corners = crop_corners(height, width, self.size, self.crops)
        (top, left), (bottom, right) = (map(end, zip(*corners, strict=True)) for end in (min, max))
        frames = frames[..., top : bottom + self.size, left : right + self.size]
        windows = [(slice(y - top, y - top + self.size), slice(x - left, x - left + self.size)) for y, x in corners]
        return frames.contiguous(), tuple(windows)


def crop_corners(height: int, width: int, size: int, crops: int) -> list[tuple[int, int]]:
    """(top, left) of square crops: 1 is the centre; 3 are left, centre, right (top, centre, bottom if portrait)."""
    room = height - size, width - size
    centre = room[0] // 2, room[1] // 2
    if crops == 1:
        return [centre]
    if height > width:
        return [(top, centre[1]) for top in (0, centre[0], room[0])]
    return [(centre[0], left) for left in (0, centre[1], room[1])]
