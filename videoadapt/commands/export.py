"""Write a model as ONNX, torch.export, or timm or open_clip weights.

FILE ends in .onnx (pip install 'videoadapt[onnx]') or .pt2 (torch.export): the whole model with its tuners merged, from
uint8 clips to logits, for any number of clips. It is written only if its logits equal the model's. With --format, FILE
ends in .safetensors, .bin or .pt and holds the plain weights that stock timm or open_clip loads. This works for image
models whose changes are tuners (model.linears) and unfrozen weights.
"""

import argparse
from pathlib import Path

from videoadapt.commands.common import add_model
from videoadapt.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--format", choices=["timm", "open_clip"], help="a plain state dict for this library")


def run(args: argparse.Namespace) -> None:
    from videoadapt.workflows import load_checkpoint
    from videoadapt.workflows.export import GRAPHS, STATES, export_graph, export_state

    suffixes = STATES if args.format else GRAPHS
    if args.out.is_dir() or args.out.suffix not in suffixes:
        other = "" if args.format else "; plain weights take --format timm or open_clip"
        raise UserError(f"--out {args.out}: it must be a file that ends in {' or '.join(sorted(suffixes))}{other}")
    model = load_checkpoint(args.checkpoint, pretrained=args.pretrained)
    if args.format:
        count, example = export_state(model, args.out, args.format, args.pretrained)
        print(f"{args.out}: {count} tensors; {example}")
    else:
        difference = export_graph(model, args.out)
        print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB; its logits differ by at most {difference:.1e}")
