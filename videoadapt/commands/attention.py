"""Draw where models look in pictures and videos.

The maps show the attention of the class token over pictures and over the frames of videos, for every checkpoint side by
side (LoKi, figure 5). --rollout follows it back through all blocks. Models with a time branch also get a picture of
which frames look at which. --image-size shows another resolution than that of the training.
"""

import argparse
from pathlib import Path

from videoadapt.commands.common import add_device, add_pretrained
from videoadapt.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="videos, pictures, folders of them, globs in quotes")
    help = "repeatable; NAME labels it"
    parser.add_argument("--checkpoint", action="append", default=[], metavar="[NAME=]FILE", help=help)
    parser.add_argument("--block", type=int, default=-1, metavar="N", help="from 0; -1 is the last (default)")
    parser.add_argument("--rollout", action="store_true", help="through all blocks instead of one")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="another one than in training")
    parser.add_argument("--out", default="runs/attention", metavar="DIR", help="runs/attention by default")
    add_pretrained(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> None:
    if not args.checkpoint:
        raise UserError("--checkpoint [NAME=]FILE says whose attention to draw")
    from videoadapt.atomic import writable_folder
    from videoadapt.workflows import load_checkpoint, media_files
    from videoadapt.workflows.attention import draw_attention

    paths = media_files(args.files)
    models = {
        name: load_checkpoint(path, args.device, args.pretrained, args.image_size)
        for name, path in _named(args.checkpoint).items()
    }
    out = writable_folder(args.out, "--out")
    for path in draw_attention(models, paths, out, None if args.rollout else args.block):
        print(path)


def _named(texts: list[str]) -> dict[str, str]:
    """Checkpoints by name: what stands before =, else the run's folder, else the whole path."""
    pairs = [_pair(text) for text in texts]
    names = [name for name, _ in pairs]
    return {path if names.count(name) > 1 else name: path for name, path in pairs}


def _pair(text: str) -> tuple[str, str]:
    name, separator, path = text.partition("=")
    if separator and "/" not in name and not Path(text).exists():  # a folder may be called lr=1e-3
        return name, path
    folder = Path(text) if Path(text).is_dir() else Path(text).parent
    return folder.name or text, text
