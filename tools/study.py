"""Compare methods: python tools/study.py STUDY.yaml [--devices cuda:0,cuda:1] [--only METHOD] [key=value ...]

Trains and tests every cell (method x data set x backbone x seed) by tools/train.py and tools/test.py, one after
another or one on each device. Finished cells are kept, an interrupted one goes on; key=value holds for all cells. Ends
with the table of the study; its folder gets study.md, study.png, methods.csv and cells.csv, and each cell's train.log
and test.log. Cost is measured on the first data set, backbone and variant: median step time, all methods in turn, and
the bytes that a step keeps for its backward pass.
"""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from videoadapt import cli
from videoadapt.atomic import atomically, writable_folder
from videoadapt.config import Config, Study, cells, load_study
from videoadapt.errors import UserError, nearest
from videoadapt.report.study import draw_study, method_rows, study_lines, study_table
from videoadapt.workflows.study import CellRunner, cell_row, check_models, finished, measured_costs


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("study", type=Path, metavar="STUDY.yaml")
    parser.add_argument("--devices", default="", metavar="A,B", help="e.g. cuda:0,cuda:1: as many cells at a time")
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
    check_models(configs.values())
    chosen = [cell for cell in configs if cell.method in (args.only or study.methods)]
    devices = [device.strip() for device in args.devices.split(",")] if args.devices else [""]
    if args.devices and not all(devices):
        raise UserError(f"--devices {args.devices}: names with commas between them, e.g. cuda:0,cuda:1")
    for cell in chosen:  # one that was made with other settings is found before any other runs
        finished(configs[cell])
    with tqdm(total=len(chosen), unit="cell") as bar:
        runner = CellRunner(Path(__file__).parent, devices)
        runner.run(chosen, configs, lambda cell: (bar.set_postfix_str(cell.name), bar.update()))
    rows = [cell_row(cell, config) for cell, config in configs.items() if cell in chosen or _still_good(config)]
    _report(study, rows, {})  # before costs are measured, which takes a while
    print(_report(study, rows, {} if args.no_cost else measured_costs(chosen, configs, study.cost_batch)))


def _with(study: Study, overrides: Sequence[str]) -> Study:
    """Overrides of the command line come last."""
    return study.model_copy(update={"methods": {name: [*own, *overrides] for name, own in study.methods.items()}})


def _still_good(config: Config) -> bool:
    """Whether a cell that was not asked for has results of the study as it is now."""
    try:
        return finished(config)
    except UserError as error:
        print(f"left out: {error}", file=sys.stderr)
        return False


def _report(study: Study, rows: Sequence[dict], costs: Mapping[str, dict]) -> str:
    """Write the study's files; the table."""
    per_data = len(study.backbones) * len(study.seeds)
    lines = study_lines(rows, list(study.methods), study.data, study.groups, per_data)
    table = cli.table(*study_table(lines, study.data, study.groups, costs))
    out = writable_folder(study.out_dir, "out_dir")
    atomically(out / "study.png", lambda path: draw_study(path, lines))
    text = f"{table}\n\n![top-1 against trainable parameters](study.png)\n"
    atomically(out / "study.md", lambda path: path.write_text(text, encoding="utf-8"))
    for name, content in (("methods.csv", method_rows(lines, costs)), ("cells.csv", rows)):
        atomically(out / name, lambda path, content=content: path.write_text(_csv(content), encoding="utf-8"))
    return table


def _csv(rows: Sequence[Mapping]) -> str:
    text = io.StringIO()
    fields = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(text, fieldnames=list(fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    cli.run(main)
