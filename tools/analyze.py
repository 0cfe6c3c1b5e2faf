"""What models cost: python tools/analyze.py CONFIG [CONFIG ...] [--json] [key=value ...]

Trainable parameters by part, GFLOPs (multiply-adds, as papers count) per view and for the whole test protocol, and
the size of a checkpoint. Nothing is loaded or downloaded: the models stand on the meta device.
"""

import json
from pathlib import Path

from videoadapt import builders, cli
from videoadapt.config import Config, load_config
from videoadapt.engine.checkpoint import checkpoint_bytes, trainable_tensors
from videoadapt.errors import UserError
from videoadapt.models.analysis import gflops_per_view, trainable_by_part


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("arguments", nargs="+", metavar="CONFIG | key=value", help="YAML files, and overrides for all")
    parser.add_argument("--json", action="store_true", help="one object for one config, a list for several")
    args = parser.parse_args()
    paths = [text for text in args.arguments if Path(text).suffix in {".yaml", ".yml"} and "=" not in text]
    overrides = [text for text in args.arguments if text not in paths]
    if not paths:
        raise UserError("name at least one config, e.g. configs/diving48/loki_clip_b16_32f.yaml")
    rows = [{"config": path, **analyse(load_config(path, overrides))} for path in paths]
    if args.json:
        print(json.dumps(rows if len(rows) > 1 else rows[0], indent=2))
    else:
        _show(rows)


def analyse(config: Config) -> dict:
    """The numbers of one config."""
    model = builders.build_model(config.model, device="meta")
    views = builders.test_views(config)
    frames = None if config.model.num_frames is None else views.frames
    per_view = gflops_per_view(model, frames, builders.model_input(config.model)["image_size"])
    about = {"config": config.model_dump(), "classes": [str(label) for label in range(config.data.num_classes)]}
    return {
        "backbone": config.model.backbone,
        "views": str(views),
        "total": sum(parameter.numel() for parameter in model.parameters()),
        "trainable": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "trainable_by_part": trainable_by_part(model),
        "gflops_per_view": round(per_view, 3),
        "gflops_per_test": round(per_view * views.clips * views.crops, 3),
        "checkpoint_bytes": checkpoint_bytes(trainable_tensors(model), about),
    }


def _show(rows: list[dict]) -> None:
    parts = list(dict.fromkeys(part for row in rows for part in row["trainable_by_part"]))
    header = ["trainable by part", *parts]
    print(
        cli.table(header, [[_name(row), *(f"{row['trainable_by_part'].get(p, 0):,}" for p in parts)] for row in rows])
    )
    print()
    header = ["model", "params (M)", "tunable (M)", "tunable", "views", "GFLOPs/view", "GFLOPs/test", "checkpoint (MB)"]
    print(cli.table(header, [_costs(row) for row in rows]))


def _name(row: dict) -> str:
    path = Path(row["config"])
    return (Path(path.parent.name) / path.stem).as_posix()


def _costs(row: dict) -> list[str]:
    return [
        _name(row),
        f"{row['total'] / 1e6:.1f}",
        f"{row['trainable'] / 1e6:.2f}",
        f"{row['trainable']:,}",
        row["views"],
        f"{row['gflops_per_view']:.1f}",
        f"{row['gflops_per_test']:.1f}",
        f"{row['checkpoint_bytes'] / 1e6:.1f}",
    ]


if __name__ == "__main__":
    cli.run(main)
