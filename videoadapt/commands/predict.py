"""Classify videos and pictures.

FILE is a video or picture, a folder of them, or a glob in quotes. The command prints the likeliest classes of each.
--json FILE also writes them (- prints JSON instead of the table). --window classifies long videos piece by piece and
draws <name>.timeline.png. --annotate writes <name>.annotated.mp4 (.png of a picture) with the label in it. Files that
cannot be read are named at the end, with exit code 2; the others keep their answers.
"""

import argparse
import json
from pathlib import Path

from videoadapt.atomic import atomically, writable_folder
from videoadapt.commands.common import add_device, add_model
from videoadapt.errors import UserError
from videoadapt.report.text import table

_NAMED = 16  # files in a message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes to name (5)")
    parser.add_argument("--views", help="frames x clips x crops; the checkpoint's test.views by default")
    parser.add_argument("--window", type=float, metavar="SECONDS", help="classify pieces of this length")
    parser.add_argument("--step", type=float, metavar="SECONDS", help="from piece to piece; half of --window")
    parser.add_argument("--json", metavar="FILE", help="also write everything as JSON; - prints it instead")
    parser.add_argument("--annotate", action="store_true", help="write copies with the label in the picture")
    parser.add_argument("--out", default="runs/predict", metavar="DIR", help="for pictures and copies (runs/predict)")
    add_device(parser)


def run(args: argparse.Namespace) -> None:
    _check(args)
    from videoadapt.workflows import load_checkpoint, media_files
    from videoadapt.workflows.answers import Request, answer_files

    paths = media_files(args.files)
    model = load_checkpoint(args.checkpoint, args.device, args.pretrained)
    found = []
    request = Request(args.top, args.views, args.window, args.step, args.annotate, args.out)
    for item in answer_files(model, paths, request):
        found.append(item)
        if args.json != "-" and "predictions" in item:
            _show(item)
    _write_json(found, args.json)
    if unread := [item for item in found if "error" in item]:
        more = f"; and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
        why = "; ".join(item["error"] for item in unread[:_NAMED])
        raise UserError(f"{len(unread)} of {len(paths)} files cannot be read: {why}{more}")


def _check(args: argparse.Namespace) -> None:
    if args.top < 1:
        raise UserError(f"--top {args.top}: name at least one class")
    if args.step is not None and args.window is None:
        raise UserError("--step: goes with --window")
    if args.json not in {None, "-"}:
        writable_folder(str(Path(args.json).parent), "--json")
        if Path(args.json).is_dir():
            raise UserError(f"--json {args.json}: is a folder")


def _show(item: dict) -> None:
    print(item["file"])
    rows = [(row["class"], f"{100 * row['probability']:.1f}") for row in item["predictions"]]
    print(table(["class", "probability (%)"], rows))
    if "windows" in item:
        windows = [
            (f"{w['begin']:.1f}", f"{w['end']:.1f}", top["class"], f"{100 * top['probability']:.1f}")
            for w in item["windows"]
            for top in w["predictions"][:1]
        ]
        print(table(["begin (s)", "end (s)", "likeliest", "probability (%)"], windows))
    for key in ("timeline", "annotated"):
        if key in item:
            print(f"{key}: {item[key]}")
    print()


def _write_json(found: list[dict], target: str | None) -> None:
    text = json.dumps(found, indent=2)
    if target == "-":
        print(text)
    elif target:
        atomically(Path(target), lambda path: path.write_text(text + "\n", encoding="utf-8"))
