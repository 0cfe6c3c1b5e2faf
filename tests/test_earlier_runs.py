"""What earlier runs and tests have left stays there, and passes for nothing else."""

import json
import shutil

import pytest
from conftest import TOOLS, write_config

import videoadapt
from videoadapt.errors import UserError
from videoadapt.models.backbone import MINI

LEFT = (
    "best.safetensors",
    "last.safetensors",
    "resume_00000004.pt",
    "resume_4.pt",
    "metrics.jsonl",
    "events.out.tfevents.1",
    "results.json",
    "predictions_8x1x1.npz",
    "report.html",
)


@pytest.fixture(scope="module")
def runs(video_set, tmp_path_factory):
    """A config that names the folder of one run, and the folders of two runs of it, each with its results."""
    from videoadapt.config import load_config
    from videoadapt.workflows import train_config

    folder = tmp_path_factory.mktemp("runs")
    config = write_config(folder, video_set)
    for name, lr in (("run", "1e-2"), ("other", "1e-3")):
        overrides = [f"run.out_dir={folder / name}", f"optim.lr={lr}", "optim.epochs=1", "run.threads=1"]
        train_config(load_config(config, overrides))
    return config, folder / "run", folder / "other"


@pytest.mark.parametrize("name", LEFT)
def test_any_file_of_a_run_is_a_run(name, config, tool, tmp_path):
    kept = tmp_path / "run" / name
    kept.parent.mkdir()
    kept.write_text("" if name == "metrics.jsonl" else "precious")
    before = kept.read_text()
    code, _, err = tool("train", config)
    assert code == 2 and err.count("\n") == 1
    assert "holds a run; choose another run.out_dir" in err and f"run.overwrite=true, which removes {name}\n" in err
    assert [path.name for path in kept.parent.iterdir()] == [name] and kept.read_text() == before


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors", "resume_4.pt", "results.json"])
def test_what_was_copied_there_is_not_an_interrupted_run(name, config, tool, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text("precious")
    code, _, err = tool("train", config, "run.resume=auto")
    assert code == 2 and f"run.resume=false run.overwrite=true starts anew, and removes {name}\n" in err
    assert [path.name for path in (tmp_path / "run").iterdir()] == [name]


def test_a_run_that_replaces_another_leaves_nothing_of_it(config, tool, tmp_path):
    (tmp_path / "run").mkdir()
    for name in (*LEFT, "mine.txt"):
        (tmp_path / "run" / name).write_text("old")
    assert tool("train", config, "optim.epochs=1", "run.overwrite=true")[0] == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"mine.txt", "best.safetensors", "resume_00000003.pt"} <= names
    assert not names & {"results.json", "predictions_8x1x1.npz", "report.html", "resume_4.pt", "resume_00000004.pt"}


def test_adapt_asks_before_it_replaces_a_run_or_its_lists(runs, tmp_path, video_set):
    for number in range(4):
        place = tmp_path / "set" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(video_set / f"-clip #{number}.mp4", place)
    out = tmp_path / "out"
    (out / "lists").mkdir(parents=True)
    (out / "lists" / "classes.txt").write_text("of the run\n")
    (out / "best.safetensors").write_text("precious")
    for settings in ([], ["run.resume=auto"]):
        with pytest.raises(UserError, match="removes best.safetensors"):
            videoadapt.adapt(tmp_path / "set", out_dir=out, backbone=MINI, epochs=1, overrides=settings)
    assert (out / "best.safetensors").read_text() == "precious"
    assert (out / "lists" / "classes.txt").read_text() == "of the run\n"


def test_the_results_of_a_run_go_to_its_own_folder(runs, tool, tmp_path):
    config, run, other = runs
    code, out, _ = tool("test", config, "--checkpoint", run)
    assert code == 0 and out.endswith(f"results.json and predictions.npz are in {run}\n")
    first = (run / "results.json").read_bytes()
    code, out, _ = tool("test", config, "--checkpoint", other / "last.safetensors")
    assert code == 0 and out.endswith(f"results.json and predictions.npz are in {other}\n")
    assert (run / "results.json").read_bytes() == first
    assert json.loads((other / "results.json").read_text())["checkpoint"] == str(other / "last.safetensors")


def test_a_folder_that_the_config_names_is_meant_unless_another_run_was_there(runs, tool, tmp_path, caplog):
    config, run, other = runs
    own = tmp_path / "config.yaml"
    own.write_text(config.read_text().replace(f"out_dir: {run}", f"out_dir: {tmp_path / 'results'}"))
    assert tool("test", own, "--checkpoint", run)[0] == 0
    assert (tmp_path / "results" / "results.json").is_file()
    before = (tmp_path / "results" / "results.json").read_bytes()
    assert tool("test", own, "--checkpoint", other)[0] == 0
    assert (tmp_path / "results" / "results.json").read_bytes() == before
    assert f"holds the results of {run}: the results go to {other}" in caplog.text
    assert tool("test", own, "--checkpoint", other, f"run.out_dir={tmp_path / 'results'}")[0] == 0  # said so
    assert (tmp_path / "results" / "results.json").read_bytes() != before


def test_a_config_without_a_folder_means_that_of_the_checkpoint(runs, tool, tmp_path, monkeypatch):
    config, run, _ = runs
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "config.yaml"
    own.write_text(config.read_text().replace(f"out_dir: {run}", "seed: 0"))
    assert tool("test", own, "--checkpoint", run)[1].endswith(f"are in {run}\n")
    shutil.copy(run / "best.safetensors", tmp_path / "copy.safetensors")
    assert tool("test", own, "--checkpoint", "copy.safetensors")[1].endswith("are in runs/default\n")


def test_a_checkpoint_without_a_run_does_not_replace_the_results_of_one(runs, tool, tmp_path):
    config, run, _ = runs
    assert tool("test", config, "--checkpoint", run)[0] == 0
    before = (run / "results.json").read_bytes()
    shutil.copy(run / "best.safetensors", tmp_path / "copy.safetensors")
    code, _, err = tool("test", config, "--checkpoint", tmp_path / "copy.safetensors")
    assert code == 2 and err.count("\n") == 1 and "say with run.out_dir=DIR where the new ones go" in err
    assert (run / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["lists", "folder", "--videos", TOOLS, "--out", "OUT"],
        ["predict", "CHECKPOINT", "broken.mp4", "--window", "1", "--out", "OUT"],
        ["attention", "broken.mp4", "--checkpoint", "CHECKPOINT", "--out", "OUT"],
        ["test", "CONFIG", "--checkpoint", "CHECKPOINT", "data.val=broken.csv", "data.root=.", "run.out_dir=OUT"],
        ["train", "CONFIG", "run.resume=true", "run.out_dir=OUT"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_failed_call_leaves_no_empty_folder(arguments, runs, tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.mp4").write_text("no video")
    (tmp_path / "broken.csv").write_text("broken.mp4 0\n")
    names = {
        "OUT": "deep/er",
        "CHECKPOINT": str(runs[1]),
        "CONFIG": str(runs[0]),
        "run.out_dir=OUT": "run.out_dir=deep/er",
    }
    code, _, err = tool(*(names.get(str(text), text) for text in arguments))
    assert code == 2 and err.startswith("error: ") and not (tmp_path / "deep").exists()
