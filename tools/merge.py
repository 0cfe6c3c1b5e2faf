"""Fold a checkpoint into its backbone: python tools/merge.py CHECKPOINT --out FILE [--format timm | open_clip]

For image models whose changes are tuners (model.linears) and unfrozen weights. The file is a plain state dict, as
safetensors or by torch.save, that stock timm or open_clip loads by itself: no inference cost, no videoadapt.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

from videoadapt import builders, cli
from videoadapt.adapters.attach import merge_linears
from videoadapt.atomic import atomically, writable_folder
from videoadapt.config import ModelConfig
from videoadapt.errors import UserError
from videoadapt.models.backbone import timm_call
from videoadapt.models.export import open_clip_state, timm_state
from videoadapt.models.pretrained import open_clip_file, open_clip_name, read_state_dict


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="*.safetensors, *.bin or *.pt")
    parser.add_argument("--format", choices=["timm", "open_clip"], default="timm")
    parser.add_argument("--pretrained", help="where the backbone's weights are now, if not where the config says")
    args = parser.parse_args()
    if args.out.is_dir() or args.out.suffix not in {".safetensors", ".bin", ".pt", ".pth"}:
        raise UserError(f"--out {args.out}: it must be a file that ends in .safetensors, .bin, .pt or .pth")
    model = merge_linears(builders.load_checkpoint(args.checkpoint, pretrained=args.pretrained))
    section = model.config.model
    if args.format == "timm":
        state, example = timm_state(model), _timm_example(section, args.out)
    else:
        source = open_clip_file(section.backbone, args.pretrained or section.pretrained)
        state, name = open_clip_state(model, read_state_dict(source)), open_clip_name(section.backbone)
        example = f"open_clip.create_model('{name}', pretrained='{args.out}')    # the head of classes is left out"
    writable_folder(str(args.out.parent), "--out")
    state = {key: value.contiguous() for key, value in state.items()}
    save = save_file if args.out.suffix == ".safetensors" else torch.save
    atomically(args.out, lambda path: save(state, path))
    print(f"{args.out}: {len(state)} tensors; {example}")


def _timm_example(section: ModelConfig, out: Path) -> str:
    sizes = {"img_size": section.image_size} if section.image_size else {}
    name, options = timm_call(section.backbone, {**section.backbone_options, **sizes})
    options |= {"num_classes": section.num_classes, "checkpoint_path": str(out)}
    return f"timm.create_model('{name}', {', '.join(f'{key}={value!r}' for key, value in options.items())})"


if __name__ == "__main__":
    cli.run(main)
