"""AIM's published checkpoints to ours: python tools/import_aim.py CONFIG AIM.pth --out DIR [key=value ...]

CONFIG is the matching model, e.g. configs/k400/aim_clip_b16_8f.yaml. DIR/aim.safetensors then holds the tensors that
AIM trained, unchanged, for tools/test.py. The frozen ones must be those of model.pretrained, to the last bit; with
--keep-backbone they are taken from AIM's file instead and put into DIR/backbone.safetensors.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from videoadapt import builders, cli
from videoadapt.atomic import atomically, writable_folder
from videoadapt.config import Config, load_config
from videoadapt.engine.checkpoint import save_checkpoint, trainable_tensors
from videoadapt.errors import UserError
from videoadapt.models.aim import convert_aim, load_aim
from videoadapt.models.backbone import load_backbone
from videoadapt.models.pretrained import read_state_dict


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("weights", type=Path, metavar="AIM.pth", help="a checkpoint of AIM's own code")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--keep-backbone", action="store_true", help="take the frozen weights from AIM's file too")
    args = parser.parse_args()
    if not args.weights.is_file():
        raise UserError(f"{args.weights}: no such checkpoint of AIM's; its README links them")
    config, state = load_config(args.config, args.overrides), read_state_dict(args.weights)
    out = writable_folder(str(args.out), "--out")
    if args.keep_backbone:
        load_aim(builders.build_model(_with_backbone(config, "none").model), state)  # it fits, or nothing is written
        file = _write_backbone(config, state, out / "backbone.safetensors")
        config = _with_backbone(config, str(file))
    model = builders.build_model(config.model)
    load_aim(model, state, frozen=False)
    about = {
        "config": config.model_dump(),
        "classes": builders.class_names(config.data),
        "fingerprint": model.fingerprint,
    }
    tensors = trainable_tensors(model)
    save_checkpoint(out / "aim.safetensors", tensors, about)
    print(f"{out / 'aim.safetensors'}: {sum(t.numel() for t in tensors.values()):,} parameters that AIM trained")


def _with_backbone(config: Config, pretrained: str) -> Config:
    return config.model_copy(update={"model": config.model.model_copy(update={"pretrained": pretrained})})


def _write_backbone(config: Config, state: dict[str, Tensor], file: Path) -> Path:
    """The image tower alone, under timm's names."""
    model, weights = config.model, convert_aim(state)
    with torch.device("meta"):
        vit = load_backbone(model.backbone, "none", image_size=model.image_size, options=model.backbone_options)
    names = [name for name in vit.state_dict() if f"backbone.{name}" in weights]
    tower = {name: weights[f"backbone.{name}"].contiguous() for name in names}
    atomically(file, lambda path: save_file(tower, path))
    return file


if __name__ == "__main__":
    cli.run(main)
