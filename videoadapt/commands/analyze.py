"""Count the parameters, operations and checkpoint size of models.

The command prints trainable parameters by part, GFLOPs (multiply-adds, as papers count) of a view and of the whole
test, and the size of a checkpoint. Nothing is loaded or downloaded.
"""

import argparse
import json
from pathlib import Path

from videoadapt.errors import UserError
from videoadapt.report.text import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help = "YAML files or names of packaged configs, and overrides for all of them"
    parser.add_argument("arguments", nargs="+", metavar="CONFIG | key=value", help=help)
    parser.add_argument("--json", action="store_true", help="print one object for one config, a list for several")


def run(args: argparse.Namespace) -> None:
    paths = [text for text in args.arguments if "=" not in text or Path(text).is_file()]
    overrides = [text for text in args.arguments if text not in paths]
    if not paths:
        raise UserError("name at least one config, e.g. diving48/loki_clip_b16_32f")
    from videoadapt.config import load_config
    from videoadapt.workflows import analyse

    rows = [{"config": path, **analyse(load_config(path, overrides))} for path in paths]
    if args.json:
        print(json.dumps(rows if len(rows) > 1 else rows[0], indent=2))
    else:
        _show(rows)


def _show(rows: list[dict]) -> None:
    parts = list(dict.fromkeys(part for row in rows for part in row["trainable_by_part"]))
    header = ["trainable by part", *parts]
    print(table(header, [[_name(row), *(f"{row['trainable_by_part'].get(p, 0):,}" for p in parts)] for row in rows]))
    print()
    header = ["model", "params (M)", "tunable (M)", "tunable", "views", "GFLOPs/view", "GFLOPs/test", "checkpoint (MB)"]
    print(table(header, [_costs(row) for row in rows]))


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
