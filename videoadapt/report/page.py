"""A test as one HTML page that needs nothing else: no network, no other file."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import plotly.io
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from plotly.offline import get_plotlyjs

from videoadapt.report.confusion import Judged, confused_pairs, confusion, worst_and_best

_PAIRS, _VIDEOS, _THUMBNAIL = 20, 8, 224  # rows, cards of each kind, pixels
_NUMBERED = 20  # classes with numbers in the cells of their matrix
_NAME = 24  # characters of a class name beside a chart
_BLUES = [[0, "#ffffff"], [0.001, "#e3eefa"], [0.1, "#9ecae1"], [0.5, "#3182bd"], [1, "#08306b"]]  # rare mistakes show
_INK, _BLUE, _ORANGE = "#1f2933", "#2b6cb0", "#c05621"


class Card(NamedTuple):
    """A video with its thumbnail as a data URI, or without one."""

    path: str
    judged: Judged
    picture: str | None


class Chart(NamedTuple):
    """A plot as a piece of HTML, and how many pixels high it wants to be."""

    html: str
    height: int


def pick_videos(label: np.ndarray, scores: np.ndarray) -> tuple[list[Judged], list[Judged]]:
    """The videos that the page shows: worst and best."""
    return worst_and_best(label, scores, _VIDEOS)


def thumbnail(frame: np.ndarray) -> str:
    """A frame (h w 3) uint8 as a small JPEG in a data URI."""
    image = Image.fromarray(frame)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def render_page(
    results: Mapping[str, Any],
    classes: Sequence[str],
    label: np.ndarray,
    scores: np.ndarray,
    accuracies: Mapping[str, Mapping[str, float]],
    cards: Mapping[str, Sequence[Card]],
    facts: Mapping[str, Mapping[str, Any]],
    config: str,
) -> str:
    """The page.

    Args:
        results: what results.json holds.
        label, scores: (n,) and (n k).
        accuracies: by protocol or step such as ``8x2x1 of 8x3x3``.
        cards: heading to videos.
        facts: heading to a table of names and values.
        config: as YAML.
    """
    counts = confusion(label, scores)
    charts = {
        "views": _views_chart(accuracies),
        "classes": _class_chart(results["per_class"], classes),
        "confusion": _confusion_chart(counts, classes),
    }
    environment = Environment(loader=PackageLoader("videoadapt.report"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html").render(
        results=results,
        classes=classes,
        protocols=results["protocols"],
        charts=charts,
        pairs=confused_pairs(counts, _PAIRS),
        cards=cards,
        facts=facts,
        config=config,
        plotly=get_plotlyjs(),
    )


def _views_chart(accuracies: Mapping[str, Mapping[str, float]]) -> Chart:
    """Top-1 against the number of clips, a line for each number of crops."""
    steps = {name.split(" of ")[0]: values["top1"] for name, values in accuracies.items() if " of " in name}
    figure = go.Figure()
    for crops, label, colour in (("1", "1 crop", _BLUE), ("3", "3 crops", _ORANGE)):
        mine = [name for name in steps if name.split("x")[2] == crops]
        if mine:
            figure.add_scatter(
                x=[int(name.split("x")[1]) for name in mine],
                y=[steps[name] for name in mine],
                text=mine,
                name=label,
                mode="lines+markers",
                line={"color": colour, "width": 2},
                hovertemplate="%{text}: %{y:.2f} %<extra></extra>",
                showlegend=True,
            )
    figure.update_xaxes(title="clips", tickvals=sorted({int(name.split("x")[1]) for name in steps}))
    figure.update_yaxes(title="top-1 (%)")
    return _chart(figure, 320)


def _class_chart(per_class: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Chart:
    """Top-1 of every class that occurs, the best on top."""
    rows = sorted((row for row in per_class if row["num_videos"]), key=lambda row: row["top1"])
    names = [classes[row["class"]] for row in rows]
    figure = go.Figure(
        go.Bar(
            x=[row["top1"] for row in rows],
            y=list(range(len(rows))),
            orientation="h",
            marker_color=_BLUE,
            customdata=[(escape(name), row["num_videos"]) for name, row in zip(names, rows, strict=True)],
            hovertemplate="%{customdata[0]}: %{x:.1f} % of %{customdata[1]} videos<extra></extra>",
        )
    )
    figure.update_xaxes(title="top-1 (%)", range=[0, 104], tickvals=[0, 25, 50, 75, 100])
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=[_short(name) for name in names])
    return _chart(figure, 90 + 18 * len(rows))


def _confusion_chart(counts: np.ndarray, classes: Sequence[str]) -> Chart:
    """Percent of each class (rows) that went to each answer (columns); drag to zoom."""
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [_short(f"{number} {name}") for number, name in enumerate(classes)]  # two may be cut to the same
    figure = go.Figure(
        go.Heatmap(
            z=np.round(shares, 1),
            x=names,
            y=names,
            customdata=counts,
            colorscale=_BLUES,
            zmin=0,
            zmax=100,
            showscale=False,
            texttemplate="%{z:.0f}" if len(classes) <= _NUMBERED else None,
            hovertemplate="%{y}<br>taken for %{x}<br>%{customdata} videos, %{z} %<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", title="true class")
    figure.update_xaxes(title="answer", tickangle=-60)
    figure.update_layout(dragmode="zoom")
    return _chart(figure, int(np.clip(260 + 26 * len(classes), 420, 860)), zoom=True)


def _chart(figure: go.Figure, height: int, zoom: bool = False) -> Chart:
    figure.update_layout(
        template="simple_white",
        height=height,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        font={"family": "system-ui, sans-serif", "size": 12, "color": _INK},
        legend={"orientation": "h", "y": 1.1},
        **({} if zoom else {"dragmode": False}),
    )
    figure.update_xaxes(automargin=True, fixedrange=not zoom)
    figure.update_yaxes(automargin=True, fixedrange=not zoom)
    options = {"responsive": True, "displaylogo": False, "displayModeBar": "hover" if zoom else False}
    return Chart(plotly.io.to_html(figure, config=options, include_plotlyjs=False, full_html=False), height)


def _short(name: str) -> str:
    """Plotly takes tags in labels for tags."""
    return escape(name if len(name) <= _NAME else f"{name[: _NAME - 1]}…")
