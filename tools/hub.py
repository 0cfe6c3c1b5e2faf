"""Share checkpoints: python tools/hub.py push CHECKPOINT --to PLACE, or pull PLACE --to DIR

PLACE is a folder or hf://owner/name on the Hugging Face Hub. What is pushed is the checkpoint, its config, a model card
and, with --results, what tools/test.py found. Every program takes hf://owner/name[@revision] for a CHECKPOINT too.
"""

import json
import tempfile
from pathlib import Path

from videoadapt import builders, cli
from videoadapt.engine.checkpoint import read_checkpoint
from videoadapt.engine.hub import HUB, copy_folder, find_checkpoint, model_card, push_folder, write_folder
from videoadapt.errors import UserError


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("action", choices=["push", "pull"])
    parser.add_argument("checkpoint", metavar="CHECKPOINT | PLACE")
    parser.add_argument("--to", required=True, metavar="PLACE", help="a folder, or hf://owner/name for push")
    parser.add_argument("--results", type=Path, metavar="FILE", help="results.json of tools/test.py, for the card")
    parser.add_argument("--private", action="store_true", help="if push makes a new repository")
    args = parser.parse_args()
    source = find_checkpoint(args.checkpoint)
    if args.action == "push":
        _push(source, args.to, _results(args.results), args.private)
    elif args.to.startswith(HUB):
        raise UserError(f"--to {args.to}: pull writes into a folder")
    else:
        copy_folder(source, Path(args.to))
        _show(args.to)


def _push(checkpoint: Path, place: str, results: dict | None, private: bool) -> None:
    tensors, about = read_checkpoint(checkpoint)
    tested = Path((results or {}).get("checkpoint") or checkpoint)
    if tested.is_file() and tested.read_bytes() != checkpoint.read_bytes():
        raise UserError(f"--results: of {tested}, which is another checkpoint than {checkpoint}")
    config = builders.checkpoint_config(about, checkpoint).model_dump()
    trainable = sum(tensor.numel() for tensor in tensors.values())
    card = model_card(config, trainable, results, place)
    if not place.startswith(HUB):
        write_folder(Path(place), checkpoint, config, card, results)
        _show(place)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), checkpoint, config, card, results)
        print(push_folder(Path(folder), place.removeprefix(HUB), private))


def _show(folder: str) -> None:
    print(f"{folder}: {', '.join(sorted(path.name for path in Path(folder).iterdir()))}")


def _results(path: Path | None) -> dict | None:
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in ("views", "num_videos", "top1", "top5", "fusion") if key not in found]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"--results {path}: not the results of tools/test.py ({type(error).__name__})") from None
    if missing:
        raise UserError(f"--results {path}: not the results of tools/test.py, it has no {missing[0]}")
    return found


if __name__ == "__main__":
    cli.run(main)
