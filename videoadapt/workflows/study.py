"""A whole study: its cells, then its table, picture and lists."""

import csv
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from videoadapt.atomic import atomically, writable_folder
from videoadapt.config import Config, Study, cells
from videoadapt.errors import UserError, nearest
from videoadapt.report.study import draw_study, method_rows, study_lines, study_table
from videoadapt.report.text import table
from videoadapt.workflows.cells import CellRunner, cell_row, check_models, finished, measured_costs

log = logging.getLogger(__name__)
Told = Callable[[int, str | None], Any]  # how many cells there are, and the one that has finished


def run_study(
    study: Study,
    *,
    devices: Sequence[str] = ("",),
    only: Sequence[str] = (),
    overrides: Sequence[str] = (),
    cost: bool = True,
    tell: Told = lambda count, name: None,
    warn: Callable[[str], Any] = log.warning,
) -> str:
    """Train and test every cell that has no results yet, and write the study's files; its table.

    Args:
        devices: as many cells at a time, one on each.
        only: these methods alone; all by default.
        overrides: ``key=value`` for every cell, after the study's own.
        cost: measure step time and memory.
        warn: hears why finished cells of other methods are not in the table.
    """
    if strange := [name for name in only if name not in study.methods]:
        raise UserError(f"--only {strange[0]}: not in the study; {nearest(strange[0], study.methods)}")
    configs = {cell: cell.config() for cell in cells(_with(study, overrides))}
    check_models(configs.values())
    chosen = [cell for cell in configs if cell.method in (only or study.methods)]
    for cell in chosen:  # one that was made with other settings is found before any other runs
        finished(configs[cell])
    tell(len(chosen), None)
    CellRunner(devices=devices).run(chosen, configs, lambda cell: tell(len(chosen), cell.name))
    rows = [cell_row(cell, config) for cell, config in configs.items() if cell in chosen or _still_good(config, warn)]
    _report(study, rows, {})  # before costs are measured, which takes a while
    return _report(study, rows, measured_costs(chosen, configs, study.cost_batch) if cost else {})


def _with(study: Study, overrides: Sequence[str]) -> Study:
    """Overrides of the command line come last."""
    return study.model_copy(update={"methods": {name: [*own, *overrides] for name, own in study.methods.items()}})


def _still_good(config: Config, warn: Callable[[str], Any]) -> bool:
    """Whether a cell that was not asked for has results of the study as it is now."""
    try:
        return finished(config)
    except UserError as error:
        warn(f"left out: {error}")
        return False


def _report(study: Study, rows: Sequence[dict], costs: Mapping[str, dict]) -> str:
    """Write the study's files; the table."""
    per_data = len(study.backbones) * len(study.seeds)
    lines = study_lines(rows, list(study.methods), study.data, study.groups, per_data)
    shown = table(*study_table(lines, study.data, study.groups, costs))
    out = writable_folder(study.out_dir, "out_dir")
    atomically(out / "study.png", lambda path: draw_study(path, lines))
    text = f"{shown}\n\n![top-1 against trainable parameters](study.png)\n"
    atomically(out / "study.md", lambda path: path.write_text(text, encoding="utf-8"))
    for name, content in (("methods.csv", method_rows(lines, costs)), ("cells.csv", rows)):
        atomically(out / name, partial(Path.write_text, data=_csv(content), encoding="utf-8"))
    return shown


def _csv(rows: Sequence[Mapping]) -> str:
    text = io.StringIO()
    fields = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(text, fieldnames=list(fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
