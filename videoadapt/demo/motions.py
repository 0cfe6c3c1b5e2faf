"""The demonstration data set: real H.264 files in which only the order of the frames tells the class.

Eight classes in four time-reversed pairs. The background's tint gives the pair away in any single frame; the
direction is in no frame and in no set of frames. Validation videos show sprites that no training video shows.
"""

import csv
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from tqdm import trange

from videoadapt.demo import sprites
from videoadapt.video.encode import write_video

CLASSES = (
    "move right", "move left", "move down", "move up",
    "grow", "shrink", "turn counter-clockwise", "turn clockwise",
)  # fmt: skip
FRAMES, SIDE, FPS = 24, 72, 12
_DECOYS = 2
_WARM, _COLD = sprites.COLOURS[[0, 3, 5, 6]], sprites.COLOURS[[1, 2, 4]]
_HELD_OUT_SHAPES, _HELD_OUT_DIGITS = 12, 7  # validation shows shapes 12-15 and digits 7-9


def write_motion_videos(root: Path, train_per_class: int, val_per_class: int, seed: int = 0) -> None:
    """Write ``videos/*.mp4``, ``train.csv``, ``val.csv`` and ``classes.txt`` below ``root``."""
    (root / "videos").mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    for split, per_class, offset in (("train", train_per_class, 0), ("val", val_per_class, 1)):
        generator = Generator().manual_seed(2 * seed + offset)
        masks = _masks(held_out=split == "val")
        with (root / f"{split}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label"])
            for number in trange(per_class * len(CLASSES), desc=f"{split} videos", leave=False, disable=None):
                label = number % len(CLASSES)
                path = f"videos/{split}_{number:04d}.mp4"
                write_video(root / path, motion_clip(label, masks, generator), FPS)
                rows.writerow([path, label])


def motion_clip(label: int, masks: Tensor, generator: Generator) -> np.ndarray:
    """One clip of a class, (24 72 72 3) uint8: a forward trajectory of the class's pair, reversed for odd labels.

    The pair's warm-coloured sprite moves over sprites of cold colours, each making a motion of the same pair in
    either direction.
    """
    pair, backwards = divmod(label, 2)
    frames = _background(generator)
    for _ in range(_DECOYS):
        poses = _trajectory(pair, generator) * torch.tensor([1.2, 1.2, 0.85, 1.0])
        poses[:, :2] += 0.5 * (2 * torch.rand(2, generator=generator) - 1)
        poses = poses.flip(0) if torch.rand((), generator=generator) < 0.5 else poses
        frames = sprites.draw(_paint(masks, _COLD, generator), poses, frames)
    frames = sprites.draw(_paint(masks, _WARM[pair : pair + 1], generator), _trajectory(pair, generator), frames)
    frames = frames.flip(0) if backwards else frames
    return (frames.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _masks(held_out: bool) -> Tensor:
    shapes, (digits, labels) = sprites.shape_masks(), sprites.digit_masks()
    if held_out:
        return torch.cat([shapes[_HELD_OUT_SHAPES:], digits[labels >= _HELD_OUT_DIGITS]])
    return torch.cat([shapes[:_HELD_OUT_SHAPES], digits[labels < _HELD_OUT_DIGITS]])


def _uniform(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def _paint(masks: Tensor, colours: Tensor, generator: Generator) -> Tensor:
    mask = masks[torch.randint(len(masks), (1,), generator=generator)]
    colour = colours[torch.randint(len(colours), (1,), generator=generator)]
    paint = sprites.textures(mask, colour, torch.rand(1, generator=generator) < 0.5)
    return paint.expand(FRAMES, -1, -1, -1).clone()


def _trajectory(pair: int, generator: Generator) -> Tensor:
    """Poses (24 4) of a monotone motion along the pair's coordinate; the others drift a little either way."""
    ramp = torch.linspace(-0.5, 0.5, FRAMES)
    eased = torch.where(torch.rand(1, generator=generator) < 0.5, ramp, 1.5 * ramp - 2 * ramp**3)
    drift = 2 * torch.rand(4, generator=generator) - 1
    start = 2 * torch.rand(4, generator=generator) - 1
    poses = torch.stack(
        [
            0.42 * start[0] + 0.3 * drift[0] * ramp,
            0.42 * start[1] + 0.3 * drift[1] * ramp,
            torch.log(0.42 * 1.3 ** start[2] * 1.15 ** (drift[2] * ramp)),
            0.55 * start[3] + 0.4 * drift[3] * ramp,
        ],
        dim=1,
    )
    reach = (
        _uniform(0.6, 0.95, generator),
        _uniform(0.6, 0.95, generator),
        math.log(_uniform(1.8, 2.4, generator)),
        math.radians(_uniform(120, 200, generator)),
    )
    poses[:, pair] += reach[pair] * eased
    poses[:, 2] = poses[:, 2].exp()
    return poses


def _background(generator: Generator) -> Tensor:
    """A cluttered canvas that a camera pans over, (24 3 72 72)."""
    canvas = sprites.canvases(1, 2 * SIDE, generator)
    canvas = 0.5 + 0.75 * (canvas - 0.5)
    start, stop = (torch.rand(2, 2, generator=generator) * 0.4 - 0.2).unbind(0)
    path = torch.lerp(start, stop, torch.linspace(0, 1, FRAMES)[:, None])
    window = torch.eye(2) * 0.5
    theta = torch.cat([window.expand(FRAMES, 2, 2), path[:, :, None]], dim=2)
    grid = F.affine_grid(theta, [FRAMES, 3, SIDE, SIDE], align_corners=False)
    return F.grid_sample(canvas.expand(FRAMES, -1, -1, -1), grid, align_corners=False)
