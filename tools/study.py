"""Compare methods: python tools/study.py STUDY.yaml [--only METHOD] [--out DIR] [--no-cost] [key=value ...]

Trains and tests every cell (method x data set x backbone x seed) by tools/train.py and tools/test.py, one after
another. Finished cells are kept, an interrupted one goes on; key=value holds for all cells. Ends with the table of the
study: study.md and cells.csv in its folder. Cost is measured on the first data set and backbone: median step time, all
methods in turn, and the bytes that a step keeps for its backward pass.
"""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from videoadapt import builders, cli
from videoadapt.config import Cell, Config, Study, cells, first_difference, load_study
from videoadapt.engine import distributed
from videoadapt.engine.checkpoint import atomically, read_checkpoint
from videoadapt.engine.cost import saved_bytes, step_seconds
from videoadapt.errors import UserError, nearest
from videoadapt.report.study import study_table

TOOLS = Path(__file__).parent


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("study", type=Path, metavar="STUDY.yaml")
    parser.add_argument("--only", action="append", default=[], metavar="METHOD", help="this method alone; repeatable")
    parser.add_argument("--out", metavar="DIR", help="instead of the study's out_dir")
    parser.add_argument("--no-cost", action="store_true", help="do not measure step time and memory")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()
    study = _chosen(load_study(args.study), args.only, args.out, args.overrides)
    todo = list(cells(study))
    configs = {cell: cell.config() for cell in todo}  # every mistake is found before the first run
    rows = []
    with tqdm(todo, unit="cell") as bar:
        for cell in bar:
            bar.set_postfix_str(cell.name)
            rows.append(_run(cell, configs[cell]))
    costs = {} if args.no_cost else _costs(study, configs)
    header, lines = study_table(rows, list(study.methods), study.data, study.groups, costs)
    table = cli.table(header, lines)
    out = Path(study.out_dir)
    atomically(out / "study.md", lambda path: path.write_text(table + "\n", encoding="utf-8"))
    atomically(out / "cells.csv", lambda path: path.write_text(_csv(rows), encoding="utf-8"))
    print(table)


def _chosen(study: Study, only: Sequence[str], out: str | None, overrides: Sequence[str]) -> Study:
    if strange := [name for name in only if name not in study.methods]:
        raise UserError(f"--only {strange[0]}: not in the study; {nearest(strange[0], study.methods)}")
    methods = {name: texts for name, texts in study.methods.items() if not only or name in only}
    methods = {name: [*texts, *overrides] for name, texts in methods.items()}
    return study.model_copy(update={"methods": methods, "out_dir": out or study.out_dir})


def _run(cell: Cell, config: Config) -> dict:
    """Train and test one cell, if that is still to do; its row."""
    out = Path(config.run.out_dir)
    results = out / "results.json"
    if results.is_file():
        made_with = json.loads(results.read_text(encoding="utf-8"))["config"]
        if difference := first_difference(made_with, json.loads(json.dumps(config.model_dump()))):
            key, then, now = difference
            raise UserError(f"{results}: made with {key}={then}, now it is {now}; remove the folder or choose --out")
    elif config.model.zero_shot is None:
        checkpoint = out / "last.safetensors"
        _call("train.py", cell, "run.resume=auto")
        _call("test.py", cell, "--checkpoint", str(checkpoint))
    else:
        _call("test.py", cell)
    found = json.loads(results.read_text(encoding="utf-8"))
    tensors = {} if config.model.zero_shot else read_checkpoint(out / "last.safetensors")[0]
    names = {key: getattr(cell, key) for key in ("data", "backbone", "variant", "method", "seed")}
    scores = {key: found[key] for key in ("top1", "top5", "mean_class_accuracy", "views")}
    return {**names, **scores, "trainable": sum(tensor.numel() for tensor in tensors.values())}


def _call(program: str, cell: Cell, *arguments: str) -> None:
    command = [sys.executable, str(TOOLS / program), cell.base, *cell.overrides, *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        last = result.stderr.strip().splitlines()[-1].removeprefix("error: ") if result.stderr.strip() else "no message"
        raise UserError(f"{cell.name}: {program} ended with code {result.returncode}: {last}")


def _costs(study: Study, configs: dict[Cell, Config]) -> dict[str, dict]:
    """Of each line of the table, on the first data set and backbone."""
    first = next(iter(configs))
    same = {
        cell: config for cell, config in configs.items() if (cell.data, cell.backbone) == (first.data, first.backbone)
    }
    chosen = {f"{cell.variant}/{cell.method}": c for cell, c in same.items() if not c.model.zero_shot}
    if not chosen:
        return {}
    config = next(iter(chosen.values()))
    device = distributed.start(config.run.device).device
    side, frames = builders.model_input(config.model)["image_size"], config.model.num_frames or 1
    clips = torch.randn(study.cost_batch or config.optim.batch_size, 3, frames, side, side, device=device)
    models = {line: builders.build_model(each.model, device) for line, each in chosen.items()}
    seconds = step_seconds(models, clips, config.run.precision)
    return {
        line: {
            "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "step_ms": 1e3 * seconds[line],
            "saved_mb": saved_bytes(model, clips, config.run.precision) / 1e6,
        }
        for line, model in models.items()
    }


def _csv(rows: Sequence[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    cli.run(main)
