"""Whole commands on generated videos: train, test, resume, torchrun, and one line for every mistake."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import TOOLS, bad_list, write_config

import videoadapt
from videoadapt.engine.checkpoint import read_checkpoint
from videoadapt.models.backbone import MINI, load_backbone


@pytest.fixture(scope="module")
def trained(video_set, tmp_path_factory):
    """A run made by the real program in a real process; its config and folder."""
    folder = tmp_path_factory.mktemp("trained")
    config = write_config(folder, video_set)
    command = [sys.executable, "-m", "videoadapt", "train", config, "optim.epochs=15"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return config, folder / "run"


def test_training_learns_and_leaves_what_the_contract_says(trained):
    _, run = trained
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 46))
    assert all(line.keys() >= {"step", "epoch", "loss", "lr"} for line in lines)
    assert [line["epoch"] for line in lines if "top1" in line] == list(range(1, 16))
    assert np.mean([line["loss"] for line in lines[-3:]]) < 0.7 * lines[0]["loss"]
    assert lines[-1]["top1"] == 100
    names = {path.name for path in run.iterdir()}
    assert {name for name in names if name.startswith("resume_")} == {"resume_00000042.pt", "resume_00000045.pt"}
    assert names >= {"config.yaml", "metrics.jsonl", "last.safetensors", "best.safetensors"}
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert (run / "last.safetensors").stat().st_size < 250_000


def test_testing_writes_results_that_can_be_recomputed(trained, tool, tmp_path):
    config, run = trained
    arguments = ["--checkpoint", run / "last.safetensors", "--views", "4x2x3", f"run.out_dir={tmp_path}"]
    code, out, _ = tool("test", config, *arguments)
    assert code == 0
    assert "|          0 | 100.00 |     - |     100.00 |" in out  # of three classes, each is among the first five
    assert "| class, 4x2x3 |" in out and "| green thing  |      2 | 100.00 |" in out and "4x2x3" in out
    results = json.loads((tmp_path / "results.json").read_text())
    stored = np.load(tmp_path / "predictions.npz")
    assert stored["index"].tolist() == list(range(5)) and stored["label"].tolist() == [0, 1, 2, 0, 1]
    assert stored["scores"].shape == (5, 3)
    np.testing.assert_allclose(stored["scores"].sum(1), 1, rtol=1e-5)
    top1 = 100 * (stored["scores"].argmax(1) == stored["label"]).mean()
    assert results["top1"] == top1 == 100 and results["views"] == "4x2x3" and results["num_videos"] == 5
    assert torch.__version__.startswith(results["versions"]["torch"])
    assert results["mean_class_accuracy"] == 100 and results["decoder"] == "pyav"


def test_decord_gives_the_same_result(trained, tool, tmp_path):
    config, run = trained
    scores = []
    for decoder in ("pyav", "decord"):
        override = [f"data.decoder={decoder}", f"run.out_dir={tmp_path / decoder}", "data.workers=1"]
        assert tool("test", config, "--checkpoint", run / "last.safetensors", *override)[0] == 0
        scores.append(np.load(tmp_path / decoder / "predictions.npz")["scores"])
    np.testing.assert_array_equal(*scores)


def test_a_checkpoint_opens_without_its_yaml(trained):
    _, run = trained
    model = videoadapt.load_checkpoint(run / "best.safetensors")
    assert not model.training and model.classes == ["red", "green thing", "blue"]
    assert model.config.model.num_frames == 4
    clip = torch.full((1, 3, 4, 64, 64), 30, dtype=torch.uint8)
    clip[:, 1] = 210
    with torch.no_grad():
        assert model(clip).argmax() == 1


def test_training_validation_equals_testing(trained, tool, tmp_path):
    config, run = trained
    code, _, _ = tool("test", config, "--checkpoint", run / "last.safetensors", f"run.out_dir={tmp_path}")
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    results = json.loads((tmp_path / "results.json").read_text())
    assert code == 0 and results["top1"] == last["top1"] and results["top5"] == last["top5"]


def test_bf16_and_image_models_train(config, tool, tmp_path):
    assert tool("train", config, "optim.epochs=1", "run.precision=bf16", f"run.out_dir={tmp_path / 'a'}")[0] == 0
    images = ["model.num_frames=null", "model.slots={space_out: {kind: kan, widths: [3]}}", "data.sampling=segment"]
    assert tool("train", config, "optim.epochs=1", *images, f"run.out_dir={tmp_path / 'b'}")[0] == 0


def test_a_run_interrupted_in_its_first_epoch_starts_anew(config, tool, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "epoch": 0, "loss": 1, "lr": 1}\n')
    (tmp_path / "run" / "mine.txt").write_text("keep")
    assert tool("train", config, "optim.epochs=1", "run.resume=auto")[0] == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert tool("train", config, "optim.epochs=1", "run.overwrite=true")[0] == 0
    assert (tmp_path / "run" / "mine.txt").read_text() == "keep"


def test_resuming_with_another_recipe_is_refused(trained, tool):
    config, _ = trained
    code, _, err = tool("train", config, "run.resume=true", "optim.epochs=15", "optim.weight_decay=0")
    assert code == 2 and "the run began with optim.weight_decay=0.05, now it is 0" in err


def test_merged_tuners_score_as_before(config, tool, tmp_path):
    tuners = "{qkv: {kind: karst, m: 4, rst: channel}, proj: {kind: lora}}"
    slots = [f"model.slots.{slot}=null" for slot in ("time_out", "space_out", "mlp_side")]
    overrides = [*slots, f"model.linears.space={tuners}", f"model.linears.time={tuners}"]
    assert tool("train", config, *overrides)[0] == 0
    scores = []
    for merge in ("false", "true"):
        out = tmp_path / merge
        arguments = ["--checkpoint", tmp_path / "run" / "last.safetensors", *overrides, f"run.out_dir={out}"]
        code, _, err = tool("test", config, *arguments, f"model.merge={merge}")
        assert code == 0, err
        scores.append(np.load(out / "predictions.npz")["scores"])
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-5)
    assert not np.array_equal(*scores)  # the second was computed another way


@pytest.mark.parametrize("mode", ["mlp", "block"])
def test_a_run_with_checkpointing_learns_the_same(config, tool, tmp_path, mode):
    losses = []
    for chosen in ("none", mode):
        overrides = [f"run.activation_checkpointing={chosen}", f"run.out_dir={tmp_path / chosen}"]
        code, _, err = tool("train", config, *overrides)
        assert code == 0, err
        lines = (tmp_path / chosen / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-4)


def test_the_demo_makes_its_table_and_picture(demo):
    assert (demo / "demo.png").read_bytes().startswith(b"\x89PNG")
    for row, trainable in (("head", 1_288), ("control", 2_312), ("loki", 179_912)):
        assert json.loads((demo / row / "results.json").read_text())["num_videos"] == 8
        tensors, _ = read_checkpoint(demo / row / "last.safetensors")
        assert sum(tensor.numel() for tensor in tensors.values()) == trainable


def test_pretraining_gives_a_loadable_backbone(tmp_path):
    command = [sys.executable, TOOLS / "pretrain_mini.py", "--shorten", "700", "--out", tmp_path / "mini.safetensors"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "held-out accuracy (%)" in result.stdout
    load_backbone(MINI, str(tmp_path / "mini.safetensors"))


# --- mistakes


def test_an_earlier_run_is_not_overwritten_unasked(trained, tool):
    config, run = trained
    before = (run / "metrics.jsonl").read_bytes()
    code, _, err = tool("train", config)
    assert code == 2 and "holds a run" in err and err.count("\n") == 1
    assert (run / "metrics.jsonl").read_bytes() == before


@pytest.fixture
def with_broken_video(tmp_path, video_set):
    (tmp_path / "broken.mp4").write_text("no video")
    first = (video_set / "val.csv").read_text().splitlines()[1]
    return [f"data.val={bad_list(tmp_path, f'{first}{chr(10)}{tmp_path}/broken.mp4,0')}", "data.absolute_paths=true"]


def test_an_unreadable_test_video_is_an_error_by_name(trained, tool, with_broken_video, tmp_path):
    config, run = trained
    arguments = [config, "--checkpoint", run / "last.safetensors", *with_broken_video, f"run.out_dir={tmp_path / 'o'}"]
    code, _, err = tool("test", *arguments)
    assert code == 2 and "broken.mp4: not a readable video" in err and err.count("\n") == 1
    assert not (tmp_path / "o" / "results.json").exists()


@pytest.mark.parametrize(("policy", "videos", "top1"), [("count_wrong", 2, 50.0), ("skip", 1, 100.0)])
def test_policies_for_unreadable_test_videos_are_reported(
    trained, tool, with_broken_video, tmp_path, policy, videos, top1
):
    config, run = trained
    arguments = [config, "--checkpoint", run / "last.safetensors", *with_broken_video, f"run.out_dir={tmp_path}"]
    code, _, _ = tool("test", *arguments, f"test.on_bad={policy}")
    results = json.loads((tmp_path / "results.json").read_text())
    assert code == 0 and results["num_videos"] == videos and results["top1"] == top1
    assert results["num_unreadable"] == 1 and "broken.mp4" in results["unreadable"][0]["reason"]
    assert results["num_read_by"] == {"pyav": 1}


TEST_MISTAKES = {
    "another backbone": (["model.pretrained=none"], "trained on another backbone"),
    "other architecture": (
        ["model.backbone=vit_base_patch16_clip_224"],
        "trained with model.backbone=vit_mini_patch16_clip_64, the config has vit_base_patch16_clip_224",
    ),
    "other classes": (
        ["data.num_classes=4", "data.classes=null"],
        "trained for 3 classes, data.num_classes asks for 4",
    ),
    "other slots": (["model.slots.mlp_side=null"], "trained with model.slots.mlp_side={"),
    "other widths": (["model.slots.mlp_side.widths=[4, 8, 4]"], "mlp_side.widths=[4, 9, 4], the config has [4, 8, 4]"),
    "other scale": (
        ["model.slots.mlp_side.scale=2.0"],
        "trained with model.slots.mlp_side.scale=None, the config has 2.0",
    ),
    "other order": (["model.order=space_first"], "trained with model.order=time_first, the config has space_first"),
    "out_dir": (["run.out_dir=/proc/nowhere"], "run.out_dir: cannot write into /proc/nowhere"),
    "views": (["test.views=4x2"], "test.views: views are frames x clips x crops"),
    "resize": (["data.resize=16"], "data.resize: 16 is below the model's image size 64"),
}


def test_class_names_in_another_order_are_refused(trained, tool, tmp_path):
    config, run = trained
    (tmp_path / "classes.txt").write_text("red\nblue\ngreen thing\n")
    arguments = ["--checkpoint", run / "last.safetensors", f"data.classes={tmp_path / 'classes.txt'}"]
    code, _, err = tool("test", config, *arguments)
    assert code == 2 and "its class 1 is 'green thing'" in err and "it is 'blue'" in err


@pytest.mark.parametrize("name", TEST_MISTAKES)
def test_a_mismatched_checkpoint_is_one_line_and_code_2(name, trained, tool):
    config, run = trained
    overrides, message = TEST_MISTAKES[name]
    code, _, err = tool("test", config, "--checkpoint", run / "last.safetensors", *overrides)
    assert code == 2 and message in err and err.count("\n") == 1


def test_checkpoints_outlive_new_keys_of_the_config(trained, tool, tmp_path):
    from videoadapt.engine.checkpoint import read_checkpoint, save_checkpoint

    config, run = trained
    tensors, about = read_checkpoint(run / "last.safetensors")
    for key in ("space_residual", "prompt", "zero_shot", "mean"):
        del about["config"]["model"][key]
    del about["config"]["model"]["slots"]["space_side"]
    save_checkpoint(tmp_path / "old.safetensors", tensors, about)
    code, _, err = tool("test", config, "--checkpoint", tmp_path / "old.safetensors", f"run.out_dir={tmp_path}")
    assert code == 0, err
    del about["config"]
    save_checkpoint(tmp_path / "strange.safetensors", tensors, about)
    for program in (["test", config, "--checkpoint"], ["export", "--format", "timm", "--out", tmp_path / "m.pt"]):
        code, _, err = tool(*program, tmp_path / "strange.safetensors")
        assert code == 2 and "strange.safetensors: carries no config" in err and err.count("\n") == 1
