"""The table of a study: methods down, data sets across."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

Row = Mapping[str, Any]  # data, backbone, variant, method, seed, trainable, top1 in percent


def accuracy(rows: Sequence[Row]) -> str:
    """``mean``, ``mean ± std`` over seeds, or ``mean (gap)`` over two backbones: LoKi's measure of generalisation.

    The gap is the absolute difference of the two backbones' means; with more backbones, between best and worst.
    """
    if not rows:
        return "-"
    means = _backbone_means(rows)
    text = f"{mean(means):.1f}"
    if len(means) > 1:
        return f"{text} ({means[-1] - means[0]:.1f})"
    values = [row["top1"] for row in rows]
    return f"{text} ± {stdev(values):.1f}" if len(values) > 1 else text


def _backbone_means(rows: Sequence[Row]) -> list[float]:
    names = {row["backbone"] for row in rows}
    return sorted(mean(row["top1"] for row in rows if row["backbone"] == name) for name in names)


def group_mean(rows: Sequence[Row], groups: Mapping[str, Sequence[str]]) -> float:
    """Mean over groups of the mean over their data sets, each a mean over its cells."""
    per_data = {name: mean(row["top1"] for row in rows if row["data"] == name) for name in {r["data"] for r in rows}}
    return mean(mean(per_data[name] for name in names) for names in groups.values())


def study_table(
    rows: Sequence[Row],
    methods: Sequence[str],
    data: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    costs: Mapping[str, Mapping[str, Any]],
) -> tuple[list[str], list[list[str]]]:
    """Header and lines: a method's top-1 on each data set, their average, and what the method costs.

    The average is over data sets, or over ``groups`` of them, and appears once a method has all of its cells.

    Args:
        rows: one a finished cell; ``variant`` and ``method`` together name a line.
        costs: of methods that were measured: ``step_ms`` and ``saved_mb``.
    """
    lines = list(dict.fromkeys((row["variant"], row["method"]) for row in rows))
    lines.sort(key=lambda line: methods.index(line[1]))
    average = bool(groups) or len(data) > 1
    header = ["method", *data, *groups, *(["average"] if average else []), "trainable", "step (ms)", "saved (MB)"]
    table = []
    for variant, method in lines:
        mine = [row for row in rows if (row["variant"], row["method"]) == (variant, method)]
        cells = [accuracy([row for row in mine if row["data"] == name]) for name in data]
        complete = {row["data"] for row in mine} >= set(data)
        if groups:
            chosen = [group_mean(mine, {group: names}) if complete else None for group, names in groups.items()]
            cells += ["-" if value is None else f"{value:.1f}" for value in chosen]
        if average:
            whole = group_mean(mine, groups or {"all": data}) if complete else None
            cells.append("-" if whole is None else _with_gap(whole, mine))
        cost = _cost(costs.get(method))
        table.append([f"{method} {variant}".strip(), *cells, _sizes(mine), *cost])
    return header, table


def _with_gap(whole: float, rows: Sequence[Row]) -> str:
    """The average of the data sets' gaps behind their average, as in LoKi's table 1."""
    means = [_backbone_means([row for row in rows if row["data"] == name]) for name in {row["data"] for row in rows}]
    gaps = [values[-1] - values[0] for values in means if len(values) > 1]
    return f"{whole:.1f} ({mean(gaps):.1f})" if gaps else f"{whole:.1f}"


def _sizes(rows: Sequence[Row]) -> str:
    """Trainable parameters; their range where heads or backbones differ."""
    sizes = sorted({row["trainable"] for row in rows})
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} - {sizes[-1]:,}"


def _cost(cost: Mapping[str, Any] | None) -> list[str]:
    return ["-", "-"] if cost is None else [f"{cost['step_ms']:.0f}", f"{cost['saved_mb']:.1f}"]
