"""Answers about files as plain data, with the pictures and copies that go with them."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from videoadapt.atomic import atomically, writable_folder
from videoadapt.data.windows import Window
from videoadapt.errors import UserError
from videoadapt.models.classifier import Classifier
from videoadapt.report.fonts import undrawable
from videoadapt.report.timeline import draw_timeline
from videoadapt.video import VideoReadError
from videoadapt.video.media import is_still
from videoadapt.workflows.prediction import (
    Answer,
    best,
    classify_files,
    classify_windows,
    own_names,
    write_annotated,
)


class Request(NamedTuple):
    """What to say about files."""

    top: int = 5  # classes to name
    views: str | None = None  # frames x clips x crops; the checkpoint's test.views by default
    window: float | None = None  # seconds of the pieces to classify; whole files by default
    step: float | None = None  # seconds from piece to piece; half a window by default
    annotate: bool = False  # write copies with the label in the picture
    out: str = "runs/predict"  # for pictures and copies


def answer_files(model: Classifier, paths: Sequence[Path], request: Request) -> Iterator[dict[str, Any]]:
    """For each file its name and ``predictions``, likeliest first; or the ``error`` for which it cannot be read.

    With a window also ``windows`` and the path of a ``timeline``; with ``annotate`` the path of the copy.
    """
    if request.window is None:
        return _whole(model, paths, request)
    return _by_window(model, paths, request, request.window)


def _whole(model: Classifier, paths: Sequence[Path], request: Request) -> Iterator[dict[str, Any]]:
    targets = _targets(paths, request.out) if request.annotate else {}
    for name, answer in classify_files(model, paths, request.views):
        if isinstance(answer, VideoReadError):
            yield {"file": name, "error": str(answer)}
            continue
        found = best(model.classes, answer, request.top)
        item: dict[str, Any] = {"file": name, "predictions": _plain(found)}
        if request.annotate:
            item |= _annotated(Path(name), targets[Path(name)], [(Window(0, 1), _caption(found[0]))])
        yield item


def _by_window(model: Classifier, paths: Sequence[Path], request: Request, seconds: float) -> Iterator[dict[str, Any]]:
    targets = _targets(paths, request.out)
    for path in paths:
        try:
            line = classify_windows(model, path, seconds, request.step, request.views)
        except VideoReadError as error:
            yield {"file": str(path), "error": str(error)}
            continue
        picture = targets[path].with_suffix(".timeline.png")
        title, classes = f"{path.name}, windows of {seconds:g} s", model.classes
        draw = partial(draw_timeline, seconds=line.seconds, shares=line.probabilities, classes=classes, title=title)
        atomically(picture, draw)
        found = [best(model.classes, row, request.top) for row in line.probabilities]
        mean = best(model.classes, line.probabilities.mean(0), request.top)
        pieces = [
            {"begin": round(float(begin), 3), "end": round(float(end), 3), "predictions": _plain(answers)}
            for (begin, end), answers in zip(line.seconds, found, strict=True)
        ]
        item = {"file": str(path), "predictions": _plain(mean), "windows": pieces, "timeline": str(picture)}
        if request.annotate:
            texts = [_caption(answers[0]) for answers in found]
            item |= _annotated(path, targets[path], list(zip(line.windows, texts, strict=True)))
        yield item


def _targets(paths: Sequence[Path], out: str) -> dict[Path, Path]:
    """For each file a name of its own in ``out``, to which suffixes are added."""
    folder = writable_folder(out, "--out")
    return {path: folder / f"{name}.x" for path, name in zip(paths, own_names(paths), strict=True)}


def _annotated(source: Path, target: Path, captions: list[tuple[Window, str]]) -> dict[str, str]:
    target = target.with_suffix(".annotated.png" if is_still(source) else ".annotated.mp4")
    try:
        write_annotated(source, target, captions)
    except (UserError, OSError) as error:
        return {"error": f"{error} (its answer stands, the copy was not made)"}
    return {"annotated": str(target)}


def _caption(answer: Answer) -> str:
    name = f"class {answer.label}" if undrawable(answer.name) else answer.name
    return f"{name}  {100 * answer.probability:.0f} %"


def _plain(answers: list[Answer]) -> list[dict[str, Any]]:
    return [{"label": a.label, "class": a.name, "probability": round(a.probability, 6)} for a in answers]
