"""A checkpoint for other programs: python tools/export.py CHECKPOINT --out FILE [--format timm | open_clip]

FILE ends in .onnx (pip install 'videoadapt[onnx]') or .pt2 (torch.export): the whole model, tuners merged, from uint8
clips to logits, for any number of clips; written only if its logits are the model's. With --format, FILE ends in
.safetensors, .bin or .pt: the plain state dict that stock timm or open_clip loads, for image models whose changes are
tuners (model.linears) and unfrozen weights.
"""

from pathlib import Path

from videoadapt import builders, cli, workflows
from videoadapt.errors import UserError
from videoadapt.workflows.export import GRAPHS, STATES


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="of tools/train.py: a file, a folder or hf://owner/name"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--format", choices=["timm", "open_clip"], help="a plain state dict for this library")
    parser.add_argument("--pretrained", help="where the backbone's weights are now, if not where the config says")
    args = parser.parse_args()
    suffixes = STATES if args.format else GRAPHS
    if args.out.is_dir() or args.out.suffix not in suffixes:
        other = "" if args.format else "; plain weights take --format timm or open_clip"
        raise UserError(f"--out {args.out}: it must be a file that ends in {' or '.join(sorted(suffixes))}{other}")
    model = builders.load_checkpoint(args.checkpoint, pretrained=args.pretrained)
    if args.format:
        count, example = workflows.export_state(model, args.out, args.format, args.pretrained)
        print(f"{args.out}: {count} tensors; {example}")
    else:
        difference = workflows.export_graph(model, args.out)
        print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB; its logits differ by at most {difference:.1e}")


if __name__ == "__main__":
    cli.run(main)
