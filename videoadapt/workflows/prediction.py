"""What a model says of files: whole, or window by window."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from videoadapt import builders
from videoadapt.atomic import atomically
from videoadapt.data.annotations.files import MEDIA
from videoadapt.data.decode import VideoReadError, open_video
from videoadapt.data.decode.picture import SUFFIXES as PICTURES
from videoadapt.data.encode import write_video
from videoadapt.data.views import Views
from videoadapt.data.windows import Window, sliding_windows, window_samples
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.evaluate import Evaluator
from videoadapt.errors import UserError
from videoadapt.models.classifier import Classifier
from videoadapt.report.caption import captioned

_PIECE = 32  # frames of an annotated copy that stand in memory


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
        model: from ``load_checkpoint``; the file is read as its config says.
        views: frames x clips x crops; those of its config by default.
    """
    ((_, found),) = classify_files(model, [path], views)
    if isinstance(found, VideoReadError):
        raise found
    return best(model.classes, found, top)


def best(classes: Sequence[str], probabilities: np.ndarray, top: int) -> list[Answer]:
    """The likeliest classes, best first."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [Answer(int(label), classes[label], float(probabilities[label])) for label in order]


def classify_files(
    model: Classifier, paths: Sequence[str | Path], views: str | None = None
) -> Iterator[tuple[str, np.ndarray | VideoReadError]]:
    """Each file with its probabilities (k,), or why it cannot be read; in order, as they come."""
    names = [str(path) for path in paths]
    broken: dict[int, VideoReadError] = {}
    loader = builders.build_file_loader(model.config, names, _views(model, views))

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


def classify_windows(
    model: Classifier, path: str | Path, seconds: float, step: float | None = None, views: str | None = None
) -> Timeline:
    """A long video, window by window; VideoReadError if it cannot be read.

    Args:
        seconds: length of a window.
        step: from one window to the next; half a window by default.
    """
    step = seconds / 2 if step is None else step
    if not (seconds > 0 and step > 0):
        raise UserError(f"windows of {seconds:g} s every {step:g} s: both must be more than 0")
    reader, indices, transform = builders.file_reading(model.config, _views(model, views))
    with reader.open(str(path)) as video:
        fps = video.fps or 1.0  # a picture has none
        windows = sliding_windows(video.num_frames, max(round(seconds * fps), 1), max(round(step * fps), 1))
        samples = window_samples(video, windows, reader, indices, transform)
        scores = [scores[0] for _, scores in _evaluator(model).scores(model, samples)]
    return Timeline(windows, np.array(windows) / fps, np.stack([_probabilities(model, row) for row in scores]))


def write_annotated(source: Path, target: Path, captions: Sequence[tuple[Window, str]]) -> None:
    """A copy of a video or picture with text at the bottom of its frames, and its sound.

    Args:
        captions: which frames show which text; where several do, the one whose middle is nearest.
    """
    with open_video(source) as video:
        middles = np.array([(window.start + window.stop - 1) / 2 for window, _ in captions])

        def frames() -> Iterator[np.ndarray]:
            for start in range(0, video.num_frames, _PIECE):
                numbers = range(start, min(start + _PIECE, video.num_frames))
                for number, frame in zip(numbers, video.frames(numbers), strict=True):
                    yield captioned(frame, captions[int(np.abs(middles - number).argmin())][1])

        if source.suffix.lower() in PICTURES:
            from PIL import Image

            image = Image.fromarray(next(frames()))
            atomically(target, lambda draft: image.save(draft, "PNG"))
            return
        fps = video.fps or 25.0
        atomically(target, lambda draft: write_video(draft, frames(), fps, sound_of=source, container="mp4"))


def media_files(arguments: Sequence[str]) -> list[Path]:
    """Files, the videos and pictures below folders, and globs, in that order; UserError for what leads to none."""
    found: list[Path] = []
    for text in arguments:
        path = Path(text)
        if path.is_file():
            found.append(path)
            continue
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in MEDIA and p.is_file())
        else:
            anchor = Path(path.anchor)
            inside = sorted(p for p in anchor.glob(str(path.relative_to(anchor))) if p.is_file())
        if not inside:
            raise UserError(f"{text}: no such file, and no folder or glob with videos or pictures")
        found += inside
    return list(dict.fromkeys(found))


def _views(model: Classifier, views: str | None) -> Views:
    return builders.parse_views(views)[-1] if views else builders.test_views(model.config)


def _evaluator(model: Classifier) -> Evaluator:
    return builders.build_evaluator(model.config, Ranks(next(model.parameters()).device))


def _probabilities(model: Classifier, scores: np.ndarray) -> np.ndarray:
    if model.config.test.fusion == "softmax":
        return scores
    return torch.from_numpy(scores).softmax(0).numpy()
