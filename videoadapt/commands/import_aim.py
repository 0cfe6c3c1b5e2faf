"""Turn AIM's published checkpoints into ours.

CONFIG is the matching model, e.g. k400/aim_clip_b16_8f. DIR/aim.safetensors then holds the tensors that AIM trained,
unchanged, for 'videoadapt test'. The frozen tensors must equal those of model.pretrained to the last bit. With
--keep-backbone they are taken from AIM's file instead and written to DIR/backbone.safetensors.
"""

import argparse
from pathlib import Path

from videoadapt.commands.common import add_overrides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a YAML file or the name of a packaged config")
    parser.add_argument("weights", type=Path, metavar="AIM.pth", help="a checkpoint of AIM's own code")
    add_overrides(parser, "e.g. model.pretrained=ViT-B-16.pt")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--keep-backbone", action="store_true", help="take the frozen weights from AIM's file too")


def run(args: argparse.Namespace) -> None:
    from videoadapt.config import load_config

    config = load_config(args.config, args.overrides)
    from videoadapt.workflows.aim import import_aim

    path, count = import_aim(config, args.weights, args.out, args.keep_backbone)
    print(f"{path}: {count:,} parameters that AIM trained")
