"""Attention maps of files by several models."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from videoadapt import builders
from videoadapt.data.decode import VideoReadError
from videoadapt.data.decode.picture import SUFFIXES as PICTURES
from videoadapt.data.views import Views
from videoadapt.errors import UserError
from videoadapt.models.attention import attend, class_token_maps, rollout_maps
from videoadapt.models.classifier import Classifier
from videoadapt.report.attention import draw_maps, draw_time

_FRAMES = 8  # of a video, for an image model


class Looked(NamedTuple):
    """Where a model looked in one file."""

    pictures: np.ndarray  # (t h w 3) uint8: what it saw
    maps: np.ndarray  # (t rows columns)
    time: np.ndarray | None  # (t t)


def look(model: Classifier, path: Path, block: int | None = -1) -> Looked:
    """The class token's attention in a block, or by rollout if that is None; a picture is one frame.

    Raises VideoReadError if the file cannot be read.
    """
    depth = len(getattr(model.backbone, "blocks", ()))
    if block is not None and depth and not -depth <= block < depth:
        raise UserError(f"block {block}: {model.config.model.backbone} has blocks 0 to {depth - 1}, or -1 for the last")
    views = Views(model.config.model.num_frames or _FRAMES)
    (sample,) = builders.build_file_loader(model.config, [str(path)], views)
    if sample.frames is None:
        raise VideoReadError(sample.unreadable)
    clip = sample.views()
    attention = attend(model, clip.to(next(model.parameters()).device))
    maps = rollout_maps(attention) if block is None else class_token_maps(attention, block)
    count = 1 if path.suffix.lower() in PICTURES else clip.shape[2]
    time = attention.time[-1 if block is None else block].cpu().numpy() if attention.time and count > 1 else None
    return Looked(clip[0].permute(1, 2, 3, 0)[:count].numpy(), maps[:count].float().cpu().numpy(), time)


def draw_attention(
    models: Mapping[str, Classifier], paths: list[Path], out: Path, block: int | None = -1
) -> list[Path]:
    """attention.png with a line for each picture file, and for each video <name>.attention.png with its frames.

    Models stand side by side, or below one another for a video; those with a time branch also get <name>.time.png,
    which frames look at which. Gives the files that were written.
    """
    depth = max(len(getattr(model.backbone, "blocks", ())) for model in models.values())
    where = "rollout" if block is None else f"block {block % max(depth, 1)} of 0 to {depth - 1}"
    title = f"class token, {where}"
    pictures = [path for path in paths if path.suffix.lower() in PICTURES]
    written = []
    if pictures:
        lines = {}
        for path in pictures:
            found = [look(model, path, block) for model in models.values()]
            lines[path.name] = [(found[0].pictures[0], None), *((each.pictures[0], each.maps[0]) for each in found)]
        draw_maps(out / "attention.png", lines, ["input", *models], title)
        written.append(out / "attention.png")
    for path in (path for path in paths if path not in pictures):
        written += _draw_video(models, path, out, block, title)
    return written


def _draw_video(models: Mapping[str, Classifier], path: Path, out: Path, block: int | None, title: str) -> list[Path]:
    found = {name: look(model, path, block) for name, model in models.items()}
    longest = max(found.values(), key=lambda each: len(each.pictures))
    lines = {"input": [(picture, None) for picture in longest.pictures]}
    lines |= {name: list(zip(each.pictures, each.maps, strict=True)) for name, each in found.items()}
    headings = [f"frame {number}" for number in range(len(longest.pictures))]
    target = out / f"{path.stem}.attention.png"
    draw_maps(target, lines, headings, f"{path.name}: {title}")
    times = {name: each.time for name, each in found.items() if each.time is not None}
    if not times:
        return [target]
    draw_time(out / f"{path.stem}.time.png", times, f"{path.name}: time attention, mean of heads and tokens")
    return [target, out / f"{path.stem}.time.png"]
