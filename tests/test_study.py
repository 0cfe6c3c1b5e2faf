"""Studies: what a file expands to, what the table says, and the program on real pictures."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import TOOLS
from PIL import Image

from videoadapt.config import cells, load_study
from videoadapt.demo.digits import write_digits
from videoadapt.errors import UserError
from videoadapt.report.study import draw_study, group_mean, method_rows, score, study_lines, study_table

BASE = TOOLS.parent / "configs" / "digits" / "linear_mini.yaml"


def _write(folder: Path, **changes) -> Path:
    study = {
        "base": str(BASE),
        "data": ["digits"],
        "methods": {"linear": [], "lora": ["model.linears={space.qkv: {kind: lora}}"]},
        "out_dir": str(folder / "study"),
        **changes,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return folder / "study.yaml"


def test_cells_are_the_product_and_later_overrides_win(tmp_path):
    path = _write(
        tmp_path,
        data=["a", "b"],
        base="configs/{data}/x.yaml",
        overrides=["optim.lr=1", "data.train={data}/{variant}/{seed}.csv"],
        variants={"1 shot": ["optim.lr=2"]},
        methods={"m": ["optim.lr=3"], "n": []},
        seeds=[0, 7],
    )
    todo = list(cells(load_study(path)))
    assert [cell.name for cell in todo[:4]] == [
        "a/1 shot/m/seed0",
        "a/1 shot/m/seed7",
        "a/1 shot/n/seed0",
        "a/1 shot/n/seed7",
    ]
    assert len(todo) == 8 and todo[-1].base == "configs/b/x.yaml"
    first = todo[1].overrides
    assert first[:4] == ("optim.lr=1", "data.train=a/1 shot/7.csv", "optim.lr=2", "optim.lr=3")
    assert first[4:] == ("run.seed=7", f'run.out_dir="{tmp_path}/study/a/1 shot/m/seed7"')


def test_names_may_hold_what_yaml_would_read(tmp_path):
    path = _write(tmp_path, methods={"lora #1: a": [], "lora #2": []})
    folders = [cell.config().run.out_dir for cell in cells(load_study(path))]
    assert folders == [f"{tmp_path}/study/digits/lora #1: a/seed0", f"{tmp_path}/study/digits/lora #2/seed0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": {}}, "unknown key 'method'; did you mean 'methods'"),
        ({"data": []}, "data: .*at least 1 item"),
        ({"groups": {"g": ["x"]}}, "groups.g: 'x' is not in data"),
        ({"methods": {}}, "methods: .*at least 1 item"),
        ({"seeds": []}, "seeds: .*at least 1 item"),
        ({"seeds": [-1]}, "seeds.0: .*greater than or equal to 0"),
    ],
)
def test_a_wrong_study_is_one_line(changes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        load_study(_write(tmp_path, **changes))


def _row(data, backbone, top1, seed=0, method="loki"):
    row = {"data": data, "backbone": backbone, "variant": "", "method": method, "seed": seed}
    return {**row, "top1": top1, "trainable": 10, "checkpoint_mb": 0.5}


def test_a_score_is_a_mean_with_a_deviation_over_seeds_and_a_gap_between_backbones():
    assert str(score([_row("a", "", 50.0)])) == "50.0"
    assert str(score([_row("a", "", 50.0), _row("a", "", 52.0, seed=1)])) == "51.0 ± 1.4"
    # LoKi's table 1 from the two tables of its supplement: DTD 74.1 on IN21k, 77.9 on CLIP
    assert str(score([_row("dtd", "in21k", 74.1), _row("dtd", "clip", 77.9)])) == "76.0 (3.8)"
    both = [_row("a", b, top1, seed) for b, seed, top1 in (("x", 0, 60), ("y", 0, 50), ("x", 1, 64), ("y", 1, 50))]
    assert score(both) == (56.0, 12.0, pytest.approx(2**0.5)) and str(score(both)) == "56.0 ± 1.4 (12.0)"


def test_the_average_of_lokis_table_1():
    in21k, clip = [98.1, 86.9, 89.8, 99.3, 74.1, 73.8, 74.9], [98.1, 91.8, 88.3, 99.3, 77.9, 69.3, 73.5]
    data = ["cifar10", "food101", "cifar100", "mnist", "dtd", "aircraft", "ddsm"]
    rows = [
        _row(d, b, v) for b, values in (("in21k", in21k), ("clip", clip)) for d, v in zip(data, values, strict=True)
    ]
    lines = study_lines(rows, ["loki"], data, {}, per_data=2)
    header, table = study_table(lines, data, {}, {})
    assert header == ["method", *data, "average", "trainable", "checkpoint (MB)", "step (ms)", "saved (MB)"]
    printed = [
        "98.1 (0.0)",
        "89.4 (4.9)",
        "89.1 (1.5)",
        "99.3 (0.0)",
        "76.0 (3.8)",
        "71.6 (4.5)",
        "74.2 (1.4)",
        "85.4 (2.3)",
    ]
    numbers = [
        [float(part.strip("()")) for text in texts for part in text.split()] for texts in (table[0][1:9], printed)
    ]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.101)  # made of rounded numbers, which round once more
    (numeric,) = method_rows(lines, {"loki": {"step_ms": 2.0, "saved_mb": 1.0}})
    assert numeric["mean_top1"] == pytest.approx(85.4, abs=0.1) and numeric["backbone_gap"] == pytest.approx(
        2.3, abs=0.1
    )
    assert numeric["seed_std"] is None and numeric["step_ms"] == 2.0 and numeric["top1 dtd"] == pytest.approx(76.0)


def test_the_mean_of_group_means_of_karsts_table_1():
    natural, special = [76.8, 93.2, 75.1, 99.5, 92.2, 91.9, 57.6], [88.3, 96.2, 88.4, 75.7]
    structured = [83.8, 69.0, 52.9, 82.0, 86.0, 52.9, 33.8, 47.0]
    groups = {"N": [f"n{i}" for i in range(7)], "S": [f"s{i}" for i in range(4)], "T": [f"t{i}" for i in range(8)]}
    values = dict(
        zip([name for names in groups.values() for name in names], natural + special + structured, strict=True)
    )
    rows = [_row(name, "", value) for name, value in values.items()]
    assert round(group_mean(rows, groups), 1) == 78.1
    (unfinished,) = study_lines(rows[:-1], ["loki"], list(values), groups, per_data=1)
    assert unfinished.average is None  # and no line in the picture
    assert study_table([unfinished], list(values), groups, {})[1][0][-5] == "-"


def test_a_method_with_cells_still_to_do_has_no_number_there():
    """One backbone alone would look like a mean of both, without a gap."""
    rows = [_row("a", "in21k", 50.0), _row("a", "clip", 60.0), _row("b", "clip", 90.0)]
    (line,) = study_lines(rows, ["loki"], ["a", "b"], {}, per_data=2)
    assert study_table([line], ["a", "b"], {}, {})[1][0][:4] == ["loki", "55.0 (10.0)", "-", "-"]
    assert method_rows([line], {})[0]["mean_top1"] is None


def test_the_picture_shows_each_finished_method(tmp_path):
    rows = [_row("a", b, 50.0 + 3 * seed, seed, method) for b in ("x", "y") for seed in (0, 1) for method in ("l", "m")]
    draw_study(tmp_path / "study.png", study_lines(rows, ["l", "m"], ["a"], {}, per_data=4))
    draw_study(tmp_path / "empty.png", study_lines(rows, ["l", "m"], ["a", "b"], {}, per_data=4))
    sizes = [Image.open(tmp_path / name).size[0] for name in ("study.png", "empty.png")]
    assert sizes == [1452, 726]  # a second panel for the backbones


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    lines = (folder / "train.csv").read_text().splitlines()
    (folder / "train.csv").write_text("\n".join(lines[:321]))
    return folder


@pytest.fixture
def on_digits(digits):
    lists = {"train": "train.csv", "val": "val.csv", "classes": "classes.txt", "root": ""}
    return [*(f"data.{key}={digits / name}" for key, name in lists.items()), "optim.epochs=4", "run.threads=1"]


def test_a_study_of_real_pictures_learns_and_keeps_what_is_finished(on_digits, tool, tmp_path):
    path = _write(tmp_path, overrides=on_digits)
    code, out, err = tool("study", path)
    assert code == 0, err
    assert "| linear |" in out and "1,290" in out
    rows = list(csv.DictReader((tmp_path / "study" / "cells.csv").open()))
    assert [row["method"] for row in rows] == ["linear", "lora"]
    assert int(rows[1]["trainable"]) == 1_290 + 4 * 3 * 4 * 2 * 128
    assert all(float(row["top1"]) > 20 for row in rows)  # chance is 10
    assert "| lora " in (tmp_path / "study" / "study.md").read_text()
    assert (tmp_path / "study" / "study.png").read_bytes().startswith(b"\x89PNG")
    methods = list(csv.DictReader((tmp_path / "study" / "methods.csv").open()))
    assert [row["method"] for row in methods] == ["linear", "lora"] and float(methods[0]["step_ms"]) > 0
    checkpoint = tmp_path / "study" / "digits" / "lora" / "seed0" / "last.safetensors"
    assert float(rows[1]["checkpoint_mb"]) == pytest.approx(checkpoint.stat().st_size / 1e6, abs=1e-3)
    stamp = {p: p.stat().st_mtime_ns for p in (tmp_path / "study").rglob("results.json")}
    shutil.rmtree(tmp_path / "study" / "digits" / "lora")
    code, again, _ = tool("study", path, "--no-cost")
    assert code == 0 and again.splitlines()[2].split("|")[2] == out.splitlines()[2].split("|")[2]
    kept = tmp_path / "study" / "digits" / "linear" / "seed0" / "results.json"
    assert kept.stat().st_mtime_ns == stamp[kept]
    code, out, _ = tool("study", path, "--only", "linear", "--no-cost", "run.threads=2", "data.workers=1")
    assert code == 0 and "| lora " in out and "1,290" in out  # what is finished stays in the table
    code, _, err = tool("study", path, "--only", "linear", "optim.lr=1e-3")
    assert code == 2 and "made with optim.lr=0.002, now it is 0.001" in err
    for garbage in ("garbage", "{}"):
        kept.write_text(garbage)
        code, _, err = tool("study", path)
        assert code == 2 and "results.json: not the results of 'videoadapt test'; remove the folder" in err


def test_a_study_of_the_demos_videos(demo, tool, tmp_path):
    files = {"train": "train.csv", "val": "val.csv", "classes": "classes.txt", "root": ""}
    lists = [f"data.{key}={demo / 'data' / name}" for key, name in files.items()]
    path = _write(
        tmp_path,
        base=str(TOOLS.parent / "configs" / "demo" / "loki_mini_8f.yaml"),
        data=["demo"],
        methods={"linear": ["model.slots={}"]},
        overrides=[*lists, "optim.epochs=1", "optim.batch_size=4", "run.threads=1"],
    )
    code, out, err = tool("study", path, "--devices", "cpu", "--no-cost")
    assert code == 0 and "| linear |" in out and "2,312" in out, err
    (row,) = csv.DictReader((tmp_path / "study" / "cells.csv").open())
    assert row["views"] == "8x2x3" and "| 8x2x3 |" in (tmp_path / "study/demo/linear/seed0/test.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "lara"], "--only lara: not in the study; did you mean 'lora'?"),
        (["optim.epoch=1"], "optim: unknown key 'epoch'"),
        (["model.slots.mlp_in={kind: lokki}"], "model.slots.mlp_in: no kind 'lokki'"),  # before any cell runs
        (["data.train=no.csv"], "digits/linear/seed0: train ended with code 2: no.csv: cannot read the list file"),
    ],
)
def test_a_mistake_in_a_study_is_one_line(arguments, message, on_digits, tool, tmp_path):
    code, _, err = tool("study", _write(tmp_path, overrides=on_digits), *arguments)
    assert code == 2 and message in err.splitlines()[-1]


def test_a_zero_shot_cell_is_tested_without_training(on_digits, tool, tmp_path):
    path = _write(tmp_path, methods={"clip": ["model.zero_shot=mnist"]}, overrides=on_digits)
    code, _, err = tool("study", path)
    assert code == 2 and "test ended with code 2: model.backbone: open_clip's CLIPs are" in err
    assert not list((tmp_path / "study").rglob("metrics.jsonl"))


def test_digits_are_written_as_they_are(digits):
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    scan = load_digits().images[17]
    with Image.open(digits / "pictures" / "0017.png") as image:
        small = np.asarray(image.resize((8, 8), Image.Resampling.BOX), float)
    assert image.size == (64, 64) and np.corrcoef(small.ravel(), scan.ravel())[0, 1] > 0.95
    assert len((digits / "val.csv").read_text().splitlines()) == 298
    assert json.loads((digits / "train.csv").read_text().splitlines()[18].split(",")[1]) == load_digits().target[17]


def test_a_stale_cell_is_found_before_any_other_runs_and_does_not_hide_the_rest(on_digits, tool, tmp_path):
    short = [*on_digits, "optim.epochs=1"]
    assert tool("study", _write(tmp_path, overrides=short), "--only", "linear", "--no-cost")[0] == 0
    changed = {"linear": ["optim.lr=1e-4"], "lora": ["model.linears={space.qkv: {kind: lora}}"]}
    path = _write(tmp_path, methods=changed, overrides=short)
    code, _, err = tool("study", path)
    assert code == 2 and "made with optim.lr=0.002, now it is 0.0001" in err
    assert not (tmp_path / "study" / "digits" / "lora").exists()
    code, out, err = tool("study", path, "--only", "lora", "--no-cost")
    assert code == 0 and "| lora" in out and "| linear" not in out and "left out: " in err
    code, _, err = tool("study", path, "--devices", "cpu,")
    assert code == 2 and "--devices cpu,: names with commas between them" in err
