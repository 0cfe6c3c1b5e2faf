"""Attention maps of files by several models."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from videoadapt import builders
from videoadapt.atomic import atomically
from videoadapt.data.views import Views
from videoadapt.errors import UserError
from videoadapt.models.attention import attend, class_token_maps, rollout_maps
from videoadapt.models.classifier import Classifier
from videoadapt.report.attention import draw_maps, draw_time
from videoadapt.video import VideoReadError
from videoadapt.video.media import is_still
from videoadapt.workflows.prediction import own_names

_FRAMES = 8  # of a video, for an image model
_SHEET = 20  # picture files that share one


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
    count = 1 if is_still(path) else clip.shape[2]
    time = attention.time[-1 if block is None else block].cpu().numpy() if attention.time and count > 1 else None
    return Looked(clip[0].permute(1, 2, 3, 0)[:count].numpy(), maps[:count].float().cpu().numpy(), time)


def draw_attention(
    models: Mapping[str, Classifier], paths: Sequence[str | Path], out: str | Path, block: int | None = -1
) -> list[Path]:
    """attention.png with a line for each picture file, and for each video <name>.attention.png with its frames.

    Models stand side by side, or below one another for a video; those with a time branch also get <name>.time.png,
    which frames look at which. Many pictures make several sheets, attention_2.png and so on. Gives the files that were
    written.
    """
    files, folder = [Path(path) for path in paths], Path(out)
    depth = max(len(getattr(model.backbone, "blocks", ())) for model in models.values())
    where = "rollout" if block is None else f"block {block % max(depth, 1)}, the last is {max(depth, 1) - 1}"
    title = f"class token, {where}"
    pictures = [path for path in files if is_still(path)]
    written = []
    for start in range(0, len(pictures), _SHEET):
        target = folder / ("attention.png" if start == 0 else f"attention_{start // _SHEET + 1}.png")
        found = [[look(model, path, block) for model in models.values()] for path in pictures[start : start + _SHEET]]
        lines = [
            (path.name, [(each[0].pictures[0], None), *((looked.pictures[0], looked.maps[0]) for looked in each)])
            for path, each in zip(pictures[start:], found, strict=False)
        ]
        atomically(target, partial(draw_maps, lines=lines, columns=["input", *models], title=title))
        written.append(target)
    videos = [path for path in files if path not in pictures]
    for path, name in zip(videos, own_names(videos), strict=True):
        written += _draw_video(models, path, folder / name, block, f"{path.name}: {title}")
    return written


def _draw_video(
    models: Mapping[str, Classifier], path: Path, target: Path, block: int | None, title: str
) -> list[Path]:
    found = {name: look(model, path, block) for name, model in models.items()}
    longest = max(found.values(), key=lambda each: len(each.pictures))
    lines = [("input", [(picture, None) for picture in longest.pictures])]
    lines += [(name, list(zip(each.pictures, each.maps, strict=True))) for name, each in found.items()]
    headings = [f"frame {number}" for number in range(len(longest.pictures))]
    written = [target.with_name(f"{target.name}.attention.png")]
    atomically(written[0], partial(draw_maps, lines=lines, columns=headings, title=title))
    if times := {name: each.time for name, each in found.items() if each.time is not None}:
        written.append(target.with_name(f"{target.name}.time.png"))
        between = f"{path.name}:\ntime attention, mean of heads and tokens"
        atomically(written[1], partial(draw_time, maps=times, title=between))
    return written
