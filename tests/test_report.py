"""The page of a test: its numbers, its safety, and what a browser makes of it."""

import html
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import TOOLS

from videoadapt.report.confusion import confused_pairs, confusion, worst_and_best
from videoadapt.report.page import _class_chart, render_page

CONFIG = TOOLS.parent / "configs" / "demo" / "loki_mini_8f.yaml"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LABEL = np.array([0, 0, 1, 1, 1, 2])
SCORES = np.array(
    [[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.9, 0.05, 0.05], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]], np.float32
)


def test_confusion_counts_answers_by_true_class():
    counts = confusion(LABEL, SCORES)
    assert counts.tolist() == [[1, 1, 0], [2, 1, 0], [0, 0, 1]]
    assert [tuple(pair) for pair in confused_pairs(counts, 5)] == [(1, 0, 2, 3), (0, 1, 1, 2)]


def test_the_worst_are_sure_and_wrong_and_the_best_sure_and_right():
    worst, best = worst_and_best(LABEL, SCORES, 2)
    assert [judged.row for judged in worst] == [3, 1] and [judged.row for judged in best] == [0, 4]
    assert (
        worst[0].answer == 0 and worst[0].answer_share == pytest.approx(90) and best[0].label_share == pytest.approx(80)
    )


def test_logits_are_shown_as_shares():
    worst, best = worst_and_best(np.array([1, 0]), np.log(np.array([[0.9, 0.1], [0.75, 0.25]])) + 7, 1)
    assert worst[0].answer_share == pytest.approx(90) and best[0].label_share == pytest.approx(75)


def test_names_are_text_and_nothing_else():
    evil = "</script><img src=x onerror=alert(1)>"
    accuracy = {"top1": 50.0, "top5": 100.0, "mean_class_accuracy": 50.0}
    results = {
        **accuracy,
        "dataset": evil,
        "views": "8x1x1",
        "checkpoint": evil,
        "num_videos": 6,
        "num_unreadable": 1,
        "unreadable": [{"index": 0, "reason": evil}],
        "on_bad": "count_wrong",
        "fusion": "softmax",
        "protocols": [{"views": "8x1x1", **accuracy}],
        "per_class": [{"class": k, "num_videos": 2, "top1": 50.0} for k in range(3)],
    }
    page = render_page(results, [evil] * 3, LABEL, SCORES, {"8x1x1 of 8x1x1": accuracy}, {}, {evil: {evil: evil}}, evil)
    assert "<img src=x" not in page and "<img" in html.unescape(page)


def test_names_are_no_markup_in_charts():
    chart = _class_chart([{"class": 0, "num_videos": 2, "top1": 50.0}], ['<a href="https://x.example">b</a>'])
    assert "\\u003ca href" not in chart.html and "<a href" not in chart.html


@pytest.fixture(scope="module")
def page(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    files = {"val": "val.csv", "root": "", "classes": "classes.txt"}
    data = [f"data.{key}={demo / 'data' / name}" for key, name in files.items()]
    command = [
        sys.executable,
        "-m",
        "videoadapt",
        "test",
        CONFIG,
        "--report",
        "--checkpoint",
        demo / "loki" / "last.safetensors",
    ]
    command += ["--views", "8x1x1,8x2x3", f"run.out_dir={folder}", *data]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder / "report.html"


def test_the_page_tells_the_test(page):
    text, results = page.read_text(), json.loads((page.parent / "results.json").read_text())
    assert f"<b>{results['top1']:.2f}</b>top-1 (%)" in text
    assert [row["views"] for row in results["protocols"]] == ["8x1x1", "8x2x3"]
    for shown in (
        "8x1x1",
        "turn counter-clockwise",
        "Most confused",
        "videos/val_0000.mp4",
        "vit_mini_patch16_clip_64",
    ):
        assert shown in text
    assert text.count("data:image/jpeg;base64,") == 8  # every video is among the worst or the best
    assert not re.search(r"(src|href)=\"(?!data:)", text.split("</script>")[-1])  # nothing is fetched


def test_an_unreadable_video_is_named_and_no_confusion(demo, tool, tmp_path):
    shutil.copytree(demo / "data", tmp_path / "data")
    for number in (2, 5):
        (tmp_path / "data" / "videos" / f"val_{number:04d}.mp4").write_bytes(b"broken")
    files = {"val": "val.csv", "root": "", "classes": "classes.txt"}
    data = [f"data.{key}={tmp_path / 'data' / name}" for key, name in files.items()]
    settings = [*data, "test.on_bad=count_wrong", f"run.out_dir={tmp_path}"]
    code, _, err = tool("test", CONFIG, "--checkpoint", demo / "loki", "--report", "--views", "8x1x1", *settings)
    assert code == 0, err
    text = (tmp_path / "report.html").read_text().split("</script>")[-1]
    assert text.count("val_0002.mp4") == 1 and "<h2>Unreadable</h2>" in text  # in the list, in no card
    assert text.count("data:image/jpeg;base64,") == 6 and "no picture" not in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_it_without_errors_and_without_scrolling_sideways(page, width, tmp_path):
    # Chromium's own window is never as narrow as a phone: the page stands in a frame of that width.
    (tmp_path / "frame.html").write_text(
        f"""<iframe id="it" src="{page.as_uri()}" style="width:{width}px;height:2000px;border:0"></iframe>
        <script>onload = () => setTimeout(() => {{
            const inside = document.getElementById("it").contentDocument;
            const plots = inside.querySelectorAll(".js-plotly-plot .main-svg").length;
            document.title = inside.documentElement.scrollWidth + " wide, plots " + plots;
        }}, 1500)</script>"""
    )
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"]
    options += ["--enable-logging=stderr", "--virtual-time-budget=6000", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *options, f"--window-size={width + 100},2100", (tmp_path / "frame.html").as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r"<title>(\d+) wide, plots (\d+)</title>", result.stdout)
    assert found, result.stderr
    assert int(found[1]) <= width and int(found[2]) >= 3
    assert "CONSOLE" not in result.stderr
