"""Compare methods: python tools/study.py STUDY.yaml [--only METHOD] [--out DIR] [--no-cost] [key=value ...]

Trains and tests every cell (method x data set x backbone x seed) by tools/train.py and tools/test.py, one after
another. Finished cells are kept, an interrupted one goes on; key=value holds for all cells. Ends with the table of the
study: study.md and cells.csv in its folder. Cost is measured on the first data set, backbone and variant: median step
time, all methods in turn, and the bytes that a step keeps for its backward pass.
"""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from videoadapt import builders, cli
from videoadapt.atomic import atomically
from videoadapt.config import WITHOUT_EFFECT, Cell, Config, Study, cells, first_difference, load_study, validate
from videoadapt.engine import distributed
from videoadapt.engine.cost import saved_bytes, step_seconds
from videoadapt.errors import UserError, nearest
from videoadapt.report.study import study_table

TOOLS = Path(__file__).parent
_FREE = frozenset({"run", *(f"data.{key}" for key in WITHOUT_EFFECT)})  # what changes no result
_SCORES = ("top1", "top5", "mean_class_accuracy", "views")


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("study", type=Path, metavar="STUDY.yaml")
    parser.add_argument("--only", action="append", default=[], metavar="METHOD", help="this method alone; repeatable")
    parser.add_argument("--out", metavar="DIR", help="instead of the study's out_dir")
    parser.add_argument("--no-cost", action="store_true", help="do not measure step time and memory")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()
    study = load_study(args.study)
    study = study.model_copy(update={"out_dir": args.out or study.out_dir})
    if strange := [name for name in args.only if name not in study.methods]:
        raise UserError(f"--only {strange[0]}: not in the study; {nearest(strange[0], study.methods)}")
    configs = {cell: cell.config() for cell in cells(_with(study, args.overrides))}
    _check_models(configs.values())
    chosen = [cell for cell in configs if cell.method in (args.only or study.methods)]
    with tqdm(chosen, unit="cell") as bar:
        for cell in bar:
            bar.set_postfix_str(cell.name)
            _run(cell, configs[cell])
    rows = [_row(cell, config) for cell, config in configs.items() if cell in chosen or _finished(config)]
    _report(study, rows, {})
    print(_report(study, rows, {} if args.no_cost else _costs(chosen, configs, study.cost_batch)))


def _with(study: Study, overrides: Sequence[str]) -> Study:
    """Overrides of the command line come last."""
    return study.model_copy(update={"methods": {name: [*own, *overrides] for name, own in study.methods.items()}})


def _check_models(configs: Iterable[Config]) -> None:
    """Every mistake in a model section is found before the first run."""
    sections = {config.model.model_dump_json(): config.model for config in configs if config.model.zero_shot is None}
    for section in sections.values():
        builders.build_model(section, device="meta")


def _run(cell: Cell, config: Config) -> None:
    """Train and test one cell, if that is still to do."""
    if _finished(config):
        return
    if config.model.zero_shot is None:
        _call("train.py", cell, "run.resume=auto")
        _call("test.py", cell, "--checkpoint", str(Path(config.run.out_dir, "last.safetensors")))
    else:
        _call("test.py", cell)


def _finished(config: Config) -> bool:
    path = Path(config.run.out_dir, "results.json")
    if not path.is_file():
        return False
    made_with = validate(Config, _results(path)["config"], str(path))
    if difference := first_difference(made_with.model_dump(), config.model_dump(), _FREE):
        key, then, now = difference
        raise UserError(f"{path}: made with {key}={then}, now it is {now}; remove the folder or choose --out")
    return True


def _results(path: Path) -> dict:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        results = None
    if not isinstance(results, dict) or not results.keys() >= {"config", *_SCORES}:
        raise UserError(f"{path}: not the results of tools/test.py; remove the folder")
    return results


def _row(cell: Cell, config: Config) -> dict:
    found = _results(Path(config.run.out_dir, "results.json"))
    model = None if config.model.zero_shot else builders.build_model(config.model, device="meta")
    trainable = 0 if model is None else sum(p.numel() for p in model.parameters() if p.requires_grad)
    names = {key: getattr(cell, key) for key in ("data", "backbone", "variant", "method", "seed")}
    return {**names, **{key: found[key] for key in _SCORES}, "trainable": trainable}


def _call(program: str, cell: Cell, *arguments: str) -> None:
    command = [sys.executable, str(TOOLS / program), cell.base, *cell.overrides, *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        last = result.stderr.strip().splitlines()[-1].removeprefix("error: ") if result.stderr.strip() else "no message"
        raise UserError(f"{cell.name}: {program} ended with code {result.returncode}: {last}")


def _costs(cells: Sequence[Cell], configs: Mapping[Cell, Config], batch: int | None) -> dict[str, dict]:
    """Of each method that trains, on the first data set, backbone and variant."""
    place = lambda cell: (cell.data, cell.backbone, cell.variant)  # noqa: E731
    first = [cell for cell in cells if place(cell) == place(cells[0])]
    chosen = {cell.method: configs[cell] for cell in first if configs[cell].model.zero_shot is None}
    if not chosen:
        return {}
    config = next(iter(chosen.values()))
    device = distributed.start(config.run.device).device
    side, frames = builders.model_input(config.model)["image_size"], config.model.num_frames or 1
    clips = torch.randn(batch or config.optim.batch_size, 3, frames, side, side, device=device)
    models = {method: builders.build_model(each.model, device) for method, each in chosen.items()}
    seconds = step_seconds(models, clips, config.run.precision)
    saved = {method: saved_bytes(model, clips, config.run.precision) for method, model in models.items()}
    return {method: {"step_ms": 1e3 * seconds[method], "saved_mb": saved[method] / 1e6} for method in models}


def _report(study: Study, rows: Sequence[dict], costs: Mapping[str, dict]) -> str:
    """Write study.md and cells.csv; the table."""
    table = cli.table(*study_table(rows, list(study.methods), study.data, study.groups, costs))
    out = Path(study.out_dir)
    atomically(out / "study.md", lambda path: path.write_text(table + "\n", encoding="utf-8"))
    atomically(out / "cells.csv", lambda path: path.write_text(_csv(rows), encoding="utf-8"))
    return table


def _csv(rows: Sequence[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    cli.run(main)
