"""Pretrain the embedded backbone on single pictures: python tools/pretrain_mini.py [--out FILE]

The pictures are procedural sprites and scikit-learn's handwritten digits over cluttered textures; no video and no
motion is ever seen. Class-token heads name the sprite (26), its colour (8) and its binned position, size and angle;
patch-token heads draw its silhouette. Every step and picture follows from the seed. Ends with the accuracy of each
head on held-out pictures (fresh scenes, unseen digit scans), kept beside the weights.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.layers import build_sincos2d_pos_embed
from timm.scheduler import CosineLRScheduler
from torch import Generator, Tensor, nn
from tqdm import trange

from videoadapt.demo import sprites
from videoadapt.models.backbone import MINI_WEIGHTS, create_mini

SIDE, BATCH = 64, 64
STAGES = (  # steps, peak learning rate, range of half-sizes: small sprites first, then the sizes of the videos
    (4200, 1.5e-3, (0.20, 0.64)),
    (2800, 1.2e-3, (0.25, 0.75)),
)
BINS = {"x": 10, "y": 10, "size": 6, "angle": 12}
TRAIN_DIGITS = 1500  # of 1,797 scans; the rest are held out


class Scenes:
    """Endless random pictures with everything known about them."""

    def __init__(self, seed: int, digits: slice) -> None:
        self.generator = Generator().manual_seed(seed)
        masks, labels = sprites.digit_masks()
        self.masks = torch.cat([sprites.shape_masks(), masks[digits]])
        self.names = torch.cat([torch.arange(sprites.NUM_SHAPES), sprites.NUM_SHAPES + labels[digits]])
        self.pool = sprites.canvases(1200, 96, self.generator)

    def draw(self, count: int, sizes: tuple[float, float], contrast: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Pictures (count 3 64 64) around zero, and their targets."""
        g = self.generator
        shape = torch.rand(count, generator=g) < 0.6
        scan = torch.randint(sprites.NUM_SHAPES, len(self.masks), (count,), generator=g)
        sprite = torch.where(shape, torch.randint(sprites.NUM_SHAPES, (count,), generator=g), scan)
        colour = torch.randint(len(sprites.COLOURS), (count,), generator=g)
        pose = torch.rand(count, 4, generator=g)
        pose[:, :2] = pose[:, :2] * 1.6 - 0.8
        pose[:, 2] = sizes[0] * (sizes[1] / sizes[0]) ** pose[:, 2]
        pose[:, 3] = (pose[:, 3] * 2 - 1) * math.pi
        paint = sprites.textures(self.masks[sprite], sprites.COLOURS[colour], torch.rand(count, generator=g) < 0.5)
        image = sprites.draw(paint, pose, 0.5 + contrast * (self._backgrounds(count) - 0.5))
        image = image + 0.02 * torch.randn(image.shape, generator=g)
        silhouette = sprites.draw(paint, pose, torch.zeros_like(image)).amax(1) > 0.02
        return (image - 0.5) / 0.5, self._targets(sprite, colour, pose, silhouette)

    def _backgrounds(self, count: int) -> Tensor:
        g, slack = self.generator, self.pool.shape[-1] - SIDE
        picks = torch.randint(len(self.pool), (count,), generator=g).tolist()
        corners = torch.randint(slack + 1, (count, 2), generator=g).tolist()
        crops = [self.pool[i, :, y : y + SIDE, x : x + SIDE] for i, (y, x) in zip(picks, corners, strict=True)]
        channels = torch.rand(count, 3, generator=g).argsort(1)
        return torch.stack(crops).gather(1, channels[:, :, None, None].expand(-1, -1, SIDE, SIDE))

    def _targets(self, sprite: Tensor, colour: Tensor, pose: Tensor, silhouette: Tensor) -> dict[str, Tensor]:
        x, y, size, angle = pose.unbind(1)
        log_size = (size / 0.2).log() / math.log(0.75 / 0.2)
        unit = {"x": (x + 0.8) / 1.6, "y": (y + 0.8) / 1.6, "size": log_size, "angle": angle / (2 * math.pi) + 0.5}
        bins = {key: (unit[key] * n).long().clamp(0, n - 1) for key, n in BINS.items()}
        exact = torch.stack([x, y, log_size, angle.cos(), angle.sin()], 1)
        cells = F.avg_pool2d(silhouette[:, None].float(), 8)  # four 8x8 cells a patch
        return {"name": self.names[sprite], "colour": colour, **bins, "pose": exact, "cells": (cells > 0.5).float()}


class Heads(nn.Module):
    """What the backbone is asked about each picture; thrown away afterwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = {"name": sprites.NUM_SHAPES + sprites.NUM_DIGITS, "colour": len(sprites.COLOURS), **BINS}
        self.classes = nn.ModuleDict({key: nn.Linear(width, n) for key, n in sizes.items()})
        self.pose, self.cells = nn.Linear(width, 5), nn.Linear(width, 4)

    def forward(self, tokens: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss of tokens (b n d), and per class head which answers were right (b,)."""
        summary, patches = tokens[:, 0], tokens[:, 1:]
        loss = 2 * F.mse_loss(self.pose(summary), targets["pose"])
        cells = F.pixel_shuffle(self.cells(patches).transpose(1, 2).unflatten(2, (SIDE // 16, SIDE // 16)), 2)
        loss = loss + 4 * F.binary_cross_entropy_with_logits(cells, targets["cells"])
        right = {}
        for key, head in self.classes.items():
            scores = head(summary)
            loss = loss + (0.5 if key == "name" else 1.0) * F.cross_entropy(scores, targets[key])
            right[key] = scores.argmax(1) == targets[key]
        return loss, right


def initialise(vit: nn.Module) -> None:
    """A start from which position is learnt at all: timm's default plateaus at chance on x and y."""
    for module in vit.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    grid = build_sincos2d_pos_embed([SIDE // 16, SIDE // 16], dim=vit.embed_dim)
    with torch.no_grad():
        vit.pos_embed.normal_(std=0.15)
        vit.pos_embed[0, 1:] += 0.5 * grid
        vit.cls_token.normal_(std=0.3)


def train_stage(vit, heads, scenes: Scenes, steps: int, lr: float, sizes: tuple[float, float], ramp: bool) -> None:
    parameters = [*vit.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.03)
    schedule = CosineLRScheduler(
        optimizer, steps, warmup_t=steps // 50, warmup_lr_init=lr / 50, t_in_epochs=False, warmup_prefix=False
    )
    bar = trange(steps, mininterval=5)
    for step in bar:
        schedule.step_update(step)
        contrast = min(1.0, 0.15 + 0.85 * step / (0.34 * steps)) if ramp else 1.0
        images, targets = scenes.draw(BATCH, sizes, contrast)
        loss, right = heads(vit.forward_features(images), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 100 == 0:
            bar.set_postfix(loss=f"{loss:.2f}", **{k: f"{r.float().mean():.2f}" for k, r in right.items()})


@torch.no_grad()
def held_out_accuracy(vit, heads, seed: int) -> dict[str, float]:
    """Percent right per head on 6,400 pictures of another seed, with digit scans never trained on."""
    scenes = Scenes(seed + 1, slice(TRAIN_DIGITS, None))
    rounds = [heads(vit.forward_features(images), targets)[1] for images, targets in _batches(scenes, 100)]
    return {key: round(100 * torch.cat([r[key] for r in rounds]).float().mean().item(), 1) for key in rounds[0]}


def _batches(scenes: Scenes, count: int):
    return (scenes.draw(BATCH, STAGES[-1][2], 1.0) for _ in range(count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=MINI_WEIGHTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shorten", type=int, default=1, help="divide the number of steps, to try the program out")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    vit = create_mini()
    initialise(vit)
    heads, scenes = Heads(vit.embed_dim), Scenes(args.seed, slice(TRAIN_DIGITS))
    for stage, (steps, lr, sizes) in enumerate(STAGES):
        train_stage(vit, heads, scenes, steps // args.shorten, lr, sizes, ramp=stage == 0)
    accuracy = held_out_accuracy(vit.eval(), heads.eval(), args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: value.half().contiguous() for key, value in vit.state_dict().items()},
        args.out,
        metadata={"held_out_accuracy": json.dumps(accuracy), "seed": str(args.seed)},
    )
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, held-out accuracy (%): {accuracy}")


if __name__ == "__main__":
    main()
