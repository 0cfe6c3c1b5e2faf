"""What a model says of files: whole, or window by window."""

import logging
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from videoadapt import builders
from videoadapt.atomic import atomically
from videoadapt.data.views import Views
from videoadapt.data.windows import Window, sliding_windows, window_samples, windows_in_time
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.evaluate import Evaluator
from videoadapt.errors import UserError
from videoadapt.models.classifier import Classifier
from videoadapt.report.caption import captioned
from videoadapt.video import VideoReadError, is_uneven, open_video, read_anew
from videoadapt.video.encode import write_video
from videoadapt.video.media import is_still
from videoadapt.video.walk import LeftOut, media_below

_PIECE = 32  # frames of an annotated copy that stand in memory
_USUAL = 25.0  # frames a second, where a file does not say
log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A class and its probability in [0, 1]."""

    label: int
    name: str
    probability: float


@dataclass(frozen=True)
class Timeline:
    """What windows of a video show: their frames, begins and ends in seconds (n 2), and probabilities (n k)."""

    windows: list[Window]
    seconds: np.ndarray
    probabilities: np.ndarray


def classify(model: Classifier, path: str | Path, top: int = 5, views: str | None = None) -> list[Answer]:
    """The likeliest classes of one video or picture, best first; VideoReadError (a ValueError) if it cannot be read.

    Args:
        model: from ``load_checkpoint`` or ``adapt``; the file is read as its config says.
        views: frames x clips x crops; those of its config by default.
    """
    ((_, found),) = classify_files(model, [path], views)
    if isinstance(found, VideoReadError):
        raise found
    return best(model.classes, found, top)


def best(classes: Sequence[str], probabilities: np.ndarray, top: int) -> list[Answer]:
    """The likeliest classes, best first."""
    if not isinstance(top, int) or top < 1:
        raise UserError(f"top {top!r}: a whole number of classes to name, at least one")
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [Answer(int(label), classes[label], float(probabilities[label])) for label in order]


def classify_files(
    model: Classifier, paths: Sequence[str | Path], views: str | None = None
) -> Iterator[tuple[str, np.ndarray | VideoReadError]]:
    """Each file with its probabilities (k,), or why it cannot be read; in order, as they come."""
    chosen = _views(model, views)
    names = [checked_path(path) for path in ([paths] if isinstance(paths, str) else paths)]
    broken: dict[int, VideoReadError] = {}
    loader = builders.build_file_loader(model.config, names, chosen)

    def readable() -> Iterator:
        for sample in loader:
            if sample.frames is None:
                broken[sample.index] = VideoReadError(sample.unreadable)
            else:
                yield sample

    done = 0
    for index, scores in _evaluator(model).scores(model, readable()):
        yield from ((names[number], broken[number]) for number in range(done, index))
        yield names[index], _probabilities(model, scores[0])
        done = index + 1
    yield from ((names[number], broken[number]) for number in range(done, len(names)))


@read_anew
def classify_windows(
    model: Classifier, path: str | Path, seconds: float, step: float | None = None, views: str | None = None
) -> Timeline:
    """A long video, window by window; VideoReadError if it cannot be read.

    Args:
        seconds: length of a window; at a variable frame rate, of the frames that are shown in that time.
        step: from one window to the next; half a window by default.
    """
    name = checked_path(path)
    if not all(isinstance(value, int | float) for value in (seconds, step or 1)):
        raise UserError(f"windows of {seconds!r} every {step!r}: both must be numbers of seconds")
    step = seconds / 2 if step is None else step
    if not (0 < seconds < math.inf and 0 < step < math.inf):
        raise UserError(f"windows of {seconds:g} s every {step:g} s: both must be more than 0, and finite")
    chosen = _views(model, views)
    reader, indices, transform = builders.file_reading(model.config, chosen)
    with reader.open(name) as video:
        fps = video.fps or 1.0  # a picture has none
        if is_uneven(video.times):
            windows = windows_in_time(video.times, seconds, step)
        else:
            windows = sliding_windows(video.num_frames, max(round(seconds * fps), 1), max(round(step * fps), 1))
        samples = window_samples(video, windows, reader, indices, transform)
        scores = [scores[0] for _, scores in _evaluator(model).scores(model, samples)]
        shown = np.append(video.times, video.times[-1] + 1 / fps)
    return Timeline(windows, shown[np.array(windows)], np.stack([_probabilities(model, row) for row in scores]))


@read_anew
def write_annotated(source: str | Path, target: str | Path, captions: Sequence[tuple[Window, str]]) -> None:
    """A copy of a video (mp4) or picture (PNG) with text at the bottom of its frames, its timing and its sound.

    Args:
        captions: which frames show which text; where several do, the one whose middle is nearest.
    """
    source, target = Path(source), Path(target)
    with open_video(source) as video:
        middles = np.array([(window.start + window.stop - 1) / 2 for window, _ in captions])

        def frames() -> Iterator[np.ndarray]:
            for start in range(0, video.num_frames, _PIECE):
                numbers = range(start, min(start + _PIECE, video.num_frames))
                for number, frame in zip(numbers, video.frames(numbers), strict=True):
                    yield captioned(frame, captions[int(np.abs(middles - number).argmin())][1])

        if is_still(source):
            image = Image.fromarray(next(frames()))
            atomically(target, lambda draft: image.save(draft, "PNG"))
            return
        fps, times = _timing(video.fps or _USUAL, video.times)
        atomically(
            target, lambda draft: write_video(draft, frames(), fps, times=times, sound_of=source, container="mp4")
        )


def _timing(fps: float, times: np.ndarray) -> tuple[float, np.ndarray | None]:
    """Frames a second, and the times of the frames where that many a second would not be shown at them."""
    return fps, times if (np.abs(times - np.arange(len(times)) / fps) > 0.5 / fps).any() else None


def media_files(arguments: Sequence[str]) -> list[Path]:
    """Files, the videos and pictures below folders, and globs, in that order; UserError for what leads to none.

    The log tells what is left out of a folder.
    """
    return list(dict.fromkeys(path for text in arguments for path in _media(text)))


def _media(text: str) -> list[Path]:
    path, left_out = Path(text), LeftOut(Path(text))
    try:
        if not text:
            raise ValueError
        if path.is_file():
            return [path]
        found = sorted(p for p, _ in media_below(path, left_out)) if path.is_dir() else _matched(path)
    except (OSError, ValueError):  # a name that is too long, no name, "a**b"
        found = []
    if not found:
        why = f"; {left_out}" if str(left_out) else ""
        raise UserError(f"{text or 'an empty name'}: no such file, and no folder or glob with videos or pictures{why}")
    if str(left_out):
        log.log(logging.WARNING if left_out.doubtful else logging.INFO, "%s", left_out)
    return found


def _matched(pattern: Path) -> list[Path]:
    """The files that a glob names; folders in which it names nothing are told."""
    matched = sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    found = [path for path in matched if path.is_file()]
    entered = {folder for path in found for folder in path.parents}
    if found and (passed := [path for path in matched if path.is_dir() and path not in entered]):
        first = f"{len(passed)}, first {passed[0]}"
        log.warning("%s: folders are passed over: %s; to have them read, name them", pattern, first)
    return found


def own_names(paths: Sequence[Path]) -> list[str]:
    """A name for each file, its stem if no other has it: what is made of it is called so."""
    counts: Counter[str] = Counter()
    names: dict[str, None] = {}
    for path in paths:
        name = path.stem
        while name in names:
            counts[path.stem] += 1
            name = f"{path.stem}_{counts[path.stem] + 1}"
        names[name] = None
    return list(names)


def checked_path(path: object) -> str:
    """The path, or UserError for what names no file: pixels would be printed whole, an address lose a slash."""
    if not isinstance(path, str | os.PathLike):
        kind = type(path).__name__
        raise UserError(
            f"a {kind} is no path of a video or picture; model(clips) takes pixels, as 'Use a checkpoint' says"
        )
    if "://" in str(path):
        raise UserError(f"{path}: is an address, and only files are read; fetch it first")
    return str(path)


def _views(model: Classifier, views: str | None) -> Views:
    if not hasattr(model, "config"):
        raise UserError("this model knows no config and no class names; load_checkpoint and adapt give one that does")
    if views is not None and not isinstance(views, str):
        raise UserError(f"views {views!r}: is no text; views are frames x clips x crops, e.g. '8x3x3'")
    found = builders.parse_views(views) if views else [builders.test_views(model.config)]
    if len(found) > 1:
        raise UserError(f"views {views}: one protocol, please; several are for a test")
    return found[0]


def _evaluator(model: Classifier) -> Evaluator:
    return builders.build_evaluator(model.config, Ranks(next(model.parameters()).device))


def _probabilities(model: Classifier, scores: np.ndarray) -> np.ndarray:
    if model.config.test.fusion == "softmax":
        return scores
    return torch.from_numpy(scores).softmax(0).numpy()
