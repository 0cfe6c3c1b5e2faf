"""Classify videos and pictures: python tools/predict.py CHECKPOINT FILE ... [--window SECONDS] [--annotate]

FILE is a video or picture, a folder of them, or a glob in quotes. Prints the likeliest classes of each; --json FILE
writes them too (- prints them instead of the table). --window looks at long videos piece by piece and draws
<name>.timeline.png; --annotate writes <name>.annotated.mp4 (.png of a picture) with the label in it. Unreadable files
are named at the end, with exit code 2; the others keep their answers.
"""

import argparse
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from videoadapt import builders, cli, workflows
from videoadapt.atomic import atomically, writable_folder
from videoadapt.data.windows import Window
from videoadapt.engine import distributed
from videoadapt.errors import UserError
from videoadapt.models.classifier import Classifier
from videoadapt.report.timeline import draw_timeline
from videoadapt.video import VideoReadError
from videoadapt.video.media import PICTURES


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="of tools/train.py: a file, a folder or hf://owner/name"
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes to name (5)")
    parser.add_argument("--views", help="frames x clips x crops; the checkpoint's test.views by default")
    parser.add_argument("--window", type=float, metavar="SECONDS", help="classify pieces of this length")
    parser.add_argument("--step", type=float, metavar="SECONDS", help="from piece to piece; half of --window")
    parser.add_argument("--json", metavar="FILE", help="also write everything as JSON; - prints it instead")
    parser.add_argument("--annotate", action="store_true", help="write copies with the label in the picture")
    parser.add_argument("--out", default="runs/predict", metavar="DIR", help="for pictures and copies (runs/predict)")
    parser.add_argument("--pretrained", help="where the backbone's weights are now, if not where the config says")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number>")
    args = parser.parse_args()
    if args.top < 1:
        raise UserError(f"--top {args.top}: name at least one class")
    if args.step is not None and args.window is None:
        raise UserError("--step: goes with --window")
    if args.json not in {None, "-"}:
        writable_folder(str(Path(args.json).parent), "--json")
        if Path(args.json).is_dir():
            raise UserError(f"--json {args.json}: is a folder")
    paths = workflows.media_files(args.files)
    device = distributed.start(args.device).device
    model = builders.load_checkpoint(args.checkpoint, device, args.pretrained)
    found = []
    for item in _by_window(model, paths, args) if args.window is not None else _whole(model, paths, args):
        found.append(item)
        if args.json != "-":
            _show(item)
    _write_json(found, args.json)
    if unread := [item for item in found if "error" in item]:
        raise UserError(f"{len(unread)} of {len(paths)} files cannot be read: {unread[0]['error']}")


def _whole(model: Classifier, paths: list[Path], args: argparse.Namespace) -> Iterator[dict]:
    targets = _targets(paths, args) if args.annotate else {}
    for name, answer in workflows.classify_files(model, paths, args.views):
        if isinstance(answer, VideoReadError):
            yield {"file": name, "error": str(answer)}
            continue
        best = workflows.best(model.classes, answer, args.top)
        item = {"file": name, "predictions": _plain(best)}
        if args.annotate:
            whole = [(Window(0, 1), _caption(best[0]))]
            item |= _annotated(Path(name), targets[Path(name)], whole)
        yield item


def _by_window(model: Classifier, paths: list[Path], args: argparse.Namespace) -> Iterator[dict]:
    targets = _targets(paths, args)
    for path in paths:
        try:
            line = workflows.classify_windows(model, path, args.window, args.step, args.views)
        except VideoReadError as error:
            yield {"file": str(path), "error": str(error)}
            continue
        picture = targets[path].with_suffix(".timeline.png")
        about = {"classes": model.classes, "title": f"{path.name}, windows of {args.window:g} s"}
        atomically(picture, partial(draw_timeline, seconds=line.seconds, shares=line.probabilities, **about))
        best = [workflows.best(model.classes, row, args.top) for row in line.probabilities]
        mean = workflows.best(model.classes, line.probabilities.mean(0), args.top)
        pieces = [
            {"begin": round(float(begin), 3), "end": round(float(end), 3), "predictions": _plain(answers)}
            for (begin, end), answers in zip(line.seconds, best, strict=True)
        ]
        item = {"file": str(path), "predictions": _plain(mean), "windows": pieces, "timeline": str(picture)}
        if args.annotate:
            texts = [_caption(answers[0]) for answers in best]
            item |= _annotated(path, targets[path], list(zip(line.windows, texts, strict=True)))
        yield item


def _targets(paths: list[Path], args: argparse.Namespace) -> dict[Path, Path]:
    """For each file a name of its own in ``--out``, to which suffixes are added."""
    folder = writable_folder(args.out, "--out")
    return {path: folder / f"{name}.x" for path, name in zip(paths, workflows.own_names(paths), strict=True)}


def _annotated(source: Path, target: Path, captions: list[tuple[Window, str]]) -> dict:
    target = target.with_suffix(".annotated.png" if source.suffix.lower() in PICTURES else ".annotated.mp4")
    try:
        workflows.write_annotated(source, target, captions)
    except (UserError, OSError) as error:
        return {"error": f"{error} (its answer stands, the copy was not made)"}
    return {"annotated": str(target)}


def _caption(answer: workflows.Answer) -> str:
    return f"{answer.name}  {100 * answer.probability:.0f} %"


def _plain(answers: list[workflows.Answer]) -> list[dict]:
    return [{"label": a.label, "class": a.name, "probability": round(a.probability, 6)} for a in answers]


def _show(item: dict) -> None:
    print(item["file"])
    if "predictions" in item:
        rows = [(row["class"], f"{100 * row['probability']:.1f}") for row in item["predictions"]]
        print(cli.table(["class", "probability (%)"], rows))
    if "windows" in item:
        rows = [
            (f"{w['begin']:.1f}", f"{w['end']:.1f}", top["class"], f"{100 * top['probability']:.1f}")
            for w in item["windows"]
            for top in w["predictions"][:1]
        ]
        print(cli.table(["begin (s)", "end (s)", "likeliest", "probability (%)"], rows))
    for key in ("timeline", "annotated", "error"):
        if key in item:
            print(f"{key}: {item[key]}")
    print()


def _write_json(found: list[dict], target: str | None) -> None:
    text = json.dumps(found, indent=2)
    if target == "-":
        print(text)
    elif target:
        atomically(Path(target), lambda path: path.write_text(text + "\n", encoding="utf-8"))


if __name__ == "__main__":
    cli.run(main)
