"""The tables and the picture of a study: methods down, data sets across."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from videoadapt.report.fonts import fonts_for, plain

Row = Mapping[str, Any]  # data, backbone, variant, method, seed, trainable, checkpoint_mb, top1 in percent
Groups = Mapping[str, Sequence[str]]  # of data sets


class Score(NamedTuple):
    """Top-1 in percent, a mean over backbones and seeds."""

    mean: float
    gap: float | None  # between the best and the worst backbone: LoKi's measure of generalisation
    std: float | None  # over seeds

    def __str__(self) -> str:
        std = "" if self.std is None else f" ± {self.std:.1f}"
        gap = "" if self.gap is None else f" ({self.gap:.1f})"
        return f"{self.mean:.1f}{std}{gap}"


def score(rows: Sequence[Row]) -> Score:
    """Of one method on one data set."""
    backbones = list(_by(rows, "backbone").values())
    means = [mean(row["top1"] for row in each) for each in backbones]
    seeds = [mean(row["top1"] for row in each) for each in _by(rows, "seed").values()]
    gap = max(means) - min(means) if len(means) > 1 else None
    return Score(mean(means), gap, stdev(seeds) if len(seeds) > 1 else None)


def average(rows: Sequence[Row], groups: Groups) -> Score:
    """Over groups of data sets of their means; the gap is the mean of the data sets' gaps, as in LoKi's table 1."""
    seeds = [group_mean(each, groups) for each in _by(rows, "seed").values()]
    gaps = [found.gap for each in _by(rows, "data").values() if (found := score(each)).gap is not None]
    std = stdev(seeds) if len(seeds) > 1 else None
    return Score(group_mean(rows, groups), mean(gaps) if gaps else None, std)


def group_mean(rows: Sequence[Row], groups: Groups) -> float:
    """Mean over groups of the mean over their data sets, each a mean over its cells."""
    per_data = {name: mean(row["top1"] for row in each) for name, each in _by(rows, "data").items()}
    return mean(mean(per_data[name] for name in names) for names in groups.values())


class Line(NamedTuple):
    """A method, in one variant, over all data sets."""

    name: str
    method: str
    rows: list[Row]
    scores: dict[str, Score]  # by data set, where every backbone and seed is finished
    groups: dict[str, float]
    average: Score | None  # if that is so on every data set

    @property
    def sizes(self) -> tuple[int, int]:
        """Least and most trainable parameters; heads and backbones differ."""
        found = [row["trainable"] for row in self.rows]
        return min(found), max(found)


def study_lines(
    rows: Sequence[Row], methods: Sequence[str], data: Sequence[str], groups: Groups, per_data: int
) -> list[Line]:
    """A line for each method and variant that has finished cells.

    Args:
        per_data: cells of a method on one data set, backbones times seeds: a mean of fewer would be of other things.
    """
    names = sorted(_by(rows, "variant", "method"), key=lambda key: methods.index(key[1]))
    lines = []
    for variant, method in names:
        mine = [row for row in rows if (row["variant"], row["method"]) == (variant, method)]
        scores = {name: score(each) for name, each in _by(mine, "data").items() if len(each) == per_data}
        complete = scores.keys() >= set(data)
        whole = average(mine, groups or {"all": data}) if complete else None
        parts = {name: group_mean(mine, {name: members}) for name, members in groups.items()} if complete else {}
        lines.append(Line(f"{method} {variant}".strip(), method, mine, scores, parts, whole))
    return lines


def study_table(
    lines: Sequence[Line], data: Sequence[str], groups: Groups, costs: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], list[list[str]]]:
    """Header and cells: ``mean ± std over seeds (gap between backbones)``, and what a method costs.

    Args:
        costs: of methods that were measured: ``step_ms`` and ``saved_mb``.
    """
    several = bool(groups) or len(data) > 1
    costly = ["trainable", "checkpoint (MB)", "step (ms)", "saved (MB)"]
    header = ["method", *data, *groups, *(["average"] if several else []), *costly]
    table = []
    for line in lines:
        cells = [str(line.scores[name]) if name in line.scores else "-" for name in data]
        cells += [f"{line.groups[name]:.1f}" if line.groups else "-" for name in groups]
        if several:
            cells.append("-" if line.average is None else str(line.average))
        sizes = [f"{size:,}" for size in dict.fromkeys(line.sizes)]
        megabytes = f"{max(row['checkpoint_mb'] for row in line.rows):.2f}"
        table.append([line.name, *cells, " - ".join(sizes), megabytes, *_cost(costs.get(line.method))])
    return header, table


def method_rows(lines: Sequence[Line], costs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same as numbers, a line of methods.csv each; None where there is nothing to tell."""
    rows = []
    for line in lines:
        average, gap, std = line.average or (None, None, None)
        known = costs.get(line.method, {"step_ms": None, "saved_mb": None})
        rows.append(
            {
                "method": line.name,
                **{f"top1 {name}": found.mean for name, found in line.scores.items()},
                "mean_top1": average,
                "backbone_gap": gap,
                "seed_std": std,
                "trainable": line.sizes[1],
                "checkpoint_mb": max(row["checkpoint_mb"] for row in line.rows),
                **known,
            }
        )
    return rows


def draw_study(path: Path, lines: Sequence[Line]) -> None:
    """Accuracy against trainable parameters; for several backbones, beside it, each method on each of them.

    Methods without all of their cells are left out.
    """
    scored = [(line, line.average) for line in lines if line.average is not None]
    lines = [line for line, _ in scored]
    backbones = list(dict.fromkeys(row["backbone"] for line in lines for row in line.rows))
    panels = 1 if len(backbones) < 2 else 2
    figure = Figure(figsize=(6.6 * panels, max(4.4, 0.3 * len(lines) + 1.6)), layout="constrained")
    with fonts_for(*backbones, *(line.name for line in lines)):
        axes = figure.subplots(1, panels, squeeze=False)[0]
        _draw_scatter(axes[0], scored)
        if panels == 2:
            _draw_backbones(axes[1], lines, backbones)
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, format="png")


def _draw_scatter(axes: Axes, scored: Sequence[tuple[Line, Score]]) -> None:
    colours = colormaps["tab20"](range(len(scored)))
    for (line, found), colour in zip(scored, colours, strict=True):
        std, size = found.std or 0, max(line.sizes[1], 1)
        axes.errorbar(size, found.mean, yerr=std, fmt="o", color=colour, capsize=3, ms=7)
        axes.annotate(plain(line.name), (size, found.mean), (6, 5), textcoords="offset points", fontsize=8)
    axes.margins(x=0.15, y=0.12)
    axes.set(xscale="log", xlabel="trainable parameters", ylabel="top-1 (%)")


def _draw_backbones(axes: Axes, lines: Sequence[Line], backbones: Sequence[str]) -> None:
    """A dot for each backbone and a bar between them: the gap."""
    shades = colormaps["viridis"]([number / len(backbones) for number in range(len(backbones))])
    colours = dict(zip(backbones, shades, strict=True))
    for place, line in enumerate(lines):
        means = {name: mean(row["top1"] for row in each) for name, each in _by(line.rows, "backbone").items()}
        axes.plot([min(means.values()), max(means.values())], [place, place], color="0.8", lw=4, zorder=1)
        for name, value in means.items():
            axes.scatter(value, place, color=colours[name], zorder=2, label=plain(name) if place == 0 else None)
    axes.set(xlabel="top-1 (%)", yticks=range(len(lines)), yticklabels=[plain(line.name) for line in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, 1.1), ncols=len(backbones))


def _by(rows: Sequence[Row], *keys: str) -> dict[Any, list[Row]]:
    """Rows in the order of their first appearance, by the value of a key or the values of several."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(row[keys[0]] if len(keys) == 1 else tuple(row[key] for key in keys), []).append(row)
    return found


def _cost(cost: Mapping[str, Any] | None) -> list[str]:
    return ["-", "-"] if cost is None else [f"{cost['step_ms']:.0f}", f"{cost['saved_mb']:.1f}"]
