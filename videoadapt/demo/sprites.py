"""Procedural pictures: textured sprites over cluttered backgrounds.

The embedded backbone was pretrained on single pictures drawn here, and the demonstration videos move the same
sprites over time. Drawing is batched and runs on torch tensors in [0, 1].
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

COLOURS = torch.tensor(
    [[0.9, 0.1, 0.1], [0.1, 0.7, 0.1], [0.15, 0.25, 0.95], [0.95, 0.85, 0.1],
     [0.1, 0.85, 0.85], [0.9, 0.2, 0.85], [0.98, 0.55, 0.1], [0.95, 0.95, 0.95]]
)  # fmt: skip

# Rows of Gielis' superformula r(a) = (|cos(m a / 4)|^n2 + |sin(m a / 4)|^n3)^(-1/n1), with a horizontal stretch.
_SHAPES = (  # m, n1, n2, n3, stretch
    (0, 1, 1, 1, 1.0), (4, 100, 100, 100, 1.0), (3, 4.5, 10, 10, 1.0), (4, 12, 15, 15, 0.6),
    (5, 2, 7, 7, 1.0), (6, 1, 6, 6, 1.0), (3, 0.6, 1.7, 1.7, 1.0), (8, 0.5, 0.5, 8, 1.0),
    (0, 1, 1, 1, 0.5), (5, 0.4, 1.7, 1.7, 1.0), (2, 0.7, 0.3, 1.7, 1.0), (7, 3, 6, 17, 1.0),
    (4, 0.5, 0.5, 0.5, 1.0), (6, 60, 55, 100, 1.0), (1, 0.5, 0.5, 0.5, 1.0), (3, 1.5, 12, 12, 0.7),
)  # fmt: skip
NUM_SHAPES, NUM_DIGITS = len(_SHAPES), 10
_SIDE = 64  # of a sprite's mask


@cache
def shape_masks() -> Tensor:
    """The 16 closed outlines as soft masks, (16 64 64) in [0, 1]."""
    axis = torch.linspace(-1, 1, _SIDE)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    masks = []
    for m, n1, n2, n3, stretch in _SHAPES:
        angle = torch.atan2(y, x / stretch)
        cos, sin = torch.cos(m * angle / 4).abs(), torch.sin(m * angle / 4).abs()
        outline = (cos.pow(n2) + sin.pow(n3)).clamp_min(1e-6).pow(-1 / n1)
        sweep = torch.linspace(-math.pi, math.pi, 2048)
        reach = (torch.cos(m * sweep / 4).abs().pow(n2) + torch.sin(m * sweep / 4).abs().pow(n3)).clamp_min(1e-6)
        outline = outline / reach.pow(-1 / n1).max()
        masks.append(((outline - torch.hypot(x / stretch, y)) * _SIDE / 2 + 0.5).clamp(0, 1))
    return torch.stack(masks)


@cache
def digit_masks() -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 handwritten digits as soft masks, (1797 64 64) in [0, 1], and their labels (1797,)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    masks = F.interpolate(images, size=(_SIDE, _SIDE), mode="bicubic", align_corners=False)
    return ((masks[:, 0] - 0.4) * 4).clamp(0, 1), torch.from_numpy(digits.target)


def canvases(count: int, side: int, generator: Generator) -> Tensor:
    """Cluttered textures: noise at three scales and four random rectangles, (count 3 side side) in [0, 1]."""
    canvas = torch.zeros(count, 3, side, side)
    for cells, weight in ((4, 0.5), (12, 0.3), (side // 2, 0.2)):
        noise = torch.rand(count, 3, cells, cells, generator=generator)
        canvas += weight * F.interpolate(noise, size=(side, side), mode="bilinear", align_corners=False)
    position = torch.arange(side) / side
    for _ in range(4):
        corner = torch.rand(count, 2, 1, generator=generator)
        extent = 0.1 + 0.4 * torch.rand(count, 2, 1, generator=generator)
        inside = (position >= corner) & (position < corner + extent)
        box = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]
        canvas = torch.where(box, 0.5 * canvas + 0.5 * torch.rand(count, 3, 1, 1, generator=generator), canvas)
    return canvas


def textures(masks: Tensor, colours: Tensor, gradient: Tensor) -> Tensor:
    """Paint masks so that their orientation is always visible: bright above, dark below.

    Args:
        masks: (n s s) in [0, 1].
        colours: (n 3) in [0, 1].
        gradient: (n,) bool; a smooth fall from bright to dark instead of a hard edge.
    Returns: (n 4 s s), colour and opacity.
    """
    height = torch.linspace(1, -1, masks.shape[-1])
    hard, smooth = torch.where(height > 0, 1.0, 0.3), 0.65 + 0.4 * height
    shade = torch.where(gradient[:, None], smooth, hard)[:, None, :, None]
    colour = (colours[:, :, None, None] * shade).clamp(0, 1).expand(-1, -1, -1, masks.shape[-1])
    return torch.cat([colour, masks[:, None]], dim=1)


def draw(sprites: Tensor, poses: Tensor, backgrounds: Tensor) -> Tensor:
    """Lay one sprite over each background.

    Args:
        sprites: (n 4 s s), colour and opacity.
        poses: (n 4), centre x and y in [-1, 1], half-size in half-images, angle in radians (counter-clockwise).
        backgrounds: (n 3 h w) in [0, 1].
    Returns: (n 3 h w) in [0, 1].
    """
    x, y, size, angle = poses.unbind(1)
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    rows = [torch.stack([cos, -sin, -(cos * x - sin * y)], 1), torch.stack([sin, cos, -(sin * x + cos * y)], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(backgrounds.shape), align_corners=False)
    layer = F.grid_sample(sprites, grid, align_corners=False)
    colour, opacity = layer[:, :3], layer[:, 3:]
    return backgrounds * (1 - opacity) + colour * opacity
