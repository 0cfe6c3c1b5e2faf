"""Checkpoints for others: graphs, folders, the Hub, and fused predictions."""

import json
import sys

import numpy as np
import pytest
import torch
from conftest import tiny

import videoadapt
from videoadapt import builders
from videoadapt.builders import build_model
from videoadapt.data.views import Views
from videoadapt.engine import hub
from videoadapt.engine.checkpoint import read_checkpoint, save_checkpoint
from videoadapt.engine.fusion import Scores, fuse, read_predictions
from videoadapt.errors import UserError
from videoadapt.models.export import write_program
from videoadapt.workflows import export as exporting


@pytest.fixture(scope="module")
def checkpoint(demo):
    return demo / "loki" / "best.safetensors"


def _validation(demo, model):
    videos = sorted((demo / "data" / "videos").glob("val_*.mp4"))
    loader = builders.build_file_loader(model.config, [str(path) for path in videos], Views(8))
    return torch.cat([sample.views() for sample in loader])


@pytest.mark.parametrize(("suffix", "row"), [("onnx", "loki"), ("pt2", "head")])
def test_an_exported_model_gives_the_same_top1_on_the_demos_videos(suffix, row, demo, tool, tmp_path):
    out, checkpoint = tmp_path / "sub" / f"demo.{suffix}", demo / row / "best.safetensors"
    code, printed, err = tool("export", checkpoint, "--out", out)
    assert code == 0, err
    assert f"{out}: " in printed and [path.name for path in out.parent.iterdir()] == [out.name]
    model = videoadapt.load_checkpoint(checkpoint)
    clips = _validation(demo, model)
    if suffix == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(out)
        logits = session.run(None, {"clips": clips.numpy()})[0]
        classes = session.get_modelmeta().custom_metadata_map["classes"]
    else:
        files = {"classes.json": ""}
        logits = torch.export.load(out, extra_files=files).module()(clips).detach().numpy()
        classes = files["classes.json"]
    with torch.no_grad():
        expected = model(clips).numpy()
    assert logits.shape == (8, 8) and (logits.argmax(1) == expected.argmax(1)).all()
    np.testing.assert_allclose(logits, expected, atol=2e-4)
    assert json.loads(classes) == model.classes


@pytest.mark.parametrize(
    "changes",
    [
        {"num_frames": None, "linears": {"space": {"qkv": {"kind": "karst", "rank": 2, "m": 4}}}},
        {"num_frames": None, "slots": {"space_side": {"kind": "convpass"}}, "prompt": {"tokens": 2, "deep": True}},
        {"slots": {"space_in": {"kind": "st_adapter", "width": 4}, "mlp_side": {"kind": "kan", "widths": [2]}}},
    ],
)
def test_other_models_become_programs_too(changes, tmp_path):
    model = build_model(tiny(**changes)).eval()
    shape = (3, 4, 32, 32) if model.temporal_embedding is not None else (3, 32, 32)
    clips = torch.randint(0, 256, (3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    run = write_program(exporting.merge_linears(model), clips[:2], "[]", tmp_path / "m.pt2")
    with torch.no_grad():
        np.testing.assert_allclose(run(clips), model(clips).numpy(), atol=1e-4)


def test_a_graph_that_computes_something_else_is_not_written(checkpoint, tool, tmp_path, monkeypatch):
    def wrong(model, clips, classes, path):
        path.write_text("a graph")
        return lambda x: np.zeros((len(x), 8), np.float32)

    monkeypatch.setattr(exporting, "write_program", wrong)
    model = videoadapt.load_checkpoint(checkpoint)
    with pytest.raises(UserError, match="m.pt2: not written, its logits differ from the model's by up to"):
        exporting.export_graph(model, tmp_path / "m.pt2")
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_remedy_is_named(checkpoint, tool, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, err = tool("export", checkpoint, "--out", tmp_path / "m.onnx")
    assert code == 2 and "pip install 'videoadapt[onnx]'" in err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "m.safetensors"], "ends in .onnx or .pt2; plain weights take --format timm or open_clip"),
        (["--out", "m.onnx", "--format", "timm"], "ends in .bin or .pt or .pth or .safetensors"),
        (["--out", "m.pt", "--format", "timm"], "an image model has no place for the temporal embedding"),
    ],
)
def test_a_mistake_in_an_export_is_one_line(arguments, message, checkpoint, tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = tool("export", checkpoint, *arguments)
    assert code == 2 and message in err.splitlines()[-1] and not list(tmp_path.iterdir())


# --- folders and the Hub


def test_a_folder_holds_a_model_with_its_card(demo, tool, tmp_path):
    checkpoint = demo / "loki" / "last.safetensors"  # the demo tests these
    results = demo / "loki" / "results.json"
    folder = tmp_path / "shared"
    code, _, err = tool("hub", "push", checkpoint, "--to", folder, "--results", results)
    assert code == 0, err
    names = ["README.md", "config.yaml", "model.safetensors", "results.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    card, top1 = (folder / "README.md").read_text(), json.loads(results.read_text())["top1"]
    assert "library_name: videoadapt" in card and "pipeline_tag: video-classification" in card
    assert f"value: {top1}" in card and f"| 8x2x3 | 8 | {top1} |" in card
    assert f'load_checkpoint("{folder}")' in card
    code, _, err = tool("hub", "pull", folder, "--to", tmp_path / "copy")
    assert code == 0, err
    original, again = read_checkpoint(checkpoint)[0], read_checkpoint(hub.find_checkpoint(tmp_path / "copy"))[0]
    assert original.keys() == again.keys() and all(torch.equal(original[key], again[key]) for key in original)
    assert videoadapt.load_checkpoint(tmp_path / "copy").classes == videoadapt.load_checkpoint(demo / "loki").classes


def test_other_files_are_not_overwritten(demo, checkpoint, tool, tmp_path):
    (tmp_path / "README.md").write_text("my project")
    for action in ("push", "pull"):
        code, _, err = tool("hub", action, checkpoint, "--to", tmp_path)
        assert code == 2 and f"--to {tmp_path}: its README.md is not of a shared model; name another folder" in err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["my project"]
    for _ in range(2):  # its own it may
        assert tool("hub", "push", checkpoint, "--to", tmp_path / "mine")[0] == 0
    assert tool("hub", "push", checkpoint, "--to", demo / "loki")[0] == 2


def test_a_checkpoint_that_does_not_tell_its_config_is_not_pushed(tool, tmp_path):
    save_checkpoint(tmp_path / "old.safetensors", {"a": torch.zeros(1)}, {"classes": ["a"], "fingerprint": "x"})
    code, _, err = tool("hub", "push", tmp_path / "old.safetensors", "--to", tmp_path / "x")
    assert code == 2 and "carries no config" in err and not (tmp_path / "x").exists()


class _Hub:
    """What the program asks of the Hub's client."""

    def __init__(self):
        self.files = {}

    def create_repo(self, name, private, exist_ok):
        assert exist_ok and private
        return f"https://huggingface.co/{name}"

    def upload_folder(self, repo_id, folder_path, commit_message):
        self.files[repo_id] = {path.name: path.read_bytes() for path in folder_path.iterdir()}


def test_a_push_uploads_the_folder_and_hf_names_fetch_it(checkpoint, tool, tmp_path, monkeypatch):
    stand_in, asked = _Hub(), []
    monkeypatch.setattr(hub, "HfApi", lambda: stand_in)
    code, printed, err = tool("hub", "push", checkpoint, "--to", "hf://me/model", "--private")
    assert code == 0 and "https://huggingface.co/me/model" in printed, err
    assert stand_in.files["me/model"]["model.safetensors"] == checkpoint.read_bytes()
    assert b'load_checkpoint("hf://me/model")' in stand_in.files["me/model"]["README.md"]

    def fetch(name, revision, allow_patterns):
        asked.append((name, revision))
        for file, content in stand_in.files[name].items():
            (tmp_path / file).write_bytes(content)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    assert videoadapt.load_checkpoint("hf://me/model@v1").classes and asked == [("me/model", "v1")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["push", "CHECKPOINT", "--to", "hf://me/model"], "hf://me/model: cannot be pushed"),
        (["pull", "hf://me/model", "--to", "x"], "hf://me/model: cannot be fetched"),
        (["pull", "CHECKPOINT", "--to", "hf://me/model"], "--to hf://me/model: pull writes into a folder"),
        (["pull", ".", "--to", "x"], ".: holds no checkpoint; looked for model.safetensors, best.safetensors"),
        (["push", "CHECKPOINT", "--to", "x", "--results", "CHECKPOINT"], "not the results of 'videoadapt test'"),
    ],
)
def test_a_mistake_in_sharing_is_one_line(arguments, message, checkpoint, tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = tool("hub", *(checkpoint if text == "CHECKPOINT" else text for text in arguments))
    assert code == 2 and message in err.splitlines()[-1] and not list(tmp_path.iterdir())


# --- fusion

INDEX, LABEL = np.array([2, 0, 1]), np.array([1, 0, 1])
FIRST = Scores(INDEX, LABEL, np.array([[0.6, 0.4], [0.9, 0.1], [0.5, 0.5]], np.float32), "softmax")
SECOND = Scores(
    np.array([0, 1, 2]), np.array([0, 1, 1]), np.array([[0.2, 0.8], [0, -np.inf], [0.1, 0.9]], np.float32), "softmax"
)


def test_scores_are_averaged_by_video_and_weight():
    fused = fuse([FIRST, SECOND], ["a", "b"], [1, 3])
    assert fused.index.tolist() == [0, 1, 2] and fused.label.tolist() == [0, 1, 1]
    np.testing.assert_allclose(fused.scores[[0, 2]], [[0.375, 0.625], [0.225, 0.775]], atol=1e-6)
    assert np.isneginf(fused.scores[1, 1])  # wrong in one is wrong
    alone = fuse([FIRST, SECOND], ["a", "b"], [1, 0])
    np.testing.assert_array_equal(alone.scores, FIRST.scores[[1, 2, 0]])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (SECOND._replace(index=np.array([0, 1, 3])), "b: not of the same videos as a; video 2 is in one of them"),
        (SECOND._replace(scores=np.ones((3, 3))), "b: 3 classes, a has 2"),
        (SECOND._replace(label=np.array([0, 0, 1])), "b: video 1 has another label than in a"),
        (SECOND._replace(fusion="logits"), "b: scores by logits, a by softmax"),
    ],
)
def test_what_does_not_belong_together_is_not_fused(other, message):
    with pytest.raises(UserError, match=message):
        fuse([FIRST, other], ["a", "b"], [1, 1])


def test_the_program_writes_fused_predictions(demo, tool, tmp_path):
    files = [demo / row / "predictions.npz" for row in ("loki", "control")]
    assert tool("fuse", *files, "--out", demo / "loki")[0] == 2  # would replace what it reads
    code, printed, err = tool("fuse", *files, "--weights", "2,1", "--out", tmp_path)
    assert code == 0 and "| fused" in printed, err
    first, second, fused = (read_predictions(path) for path in (*files, tmp_path / "predictions.npz"))
    np.testing.assert_allclose(fused.scores, (2 * first.scores + second.scores) / 3, atol=1e-6)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["top1"] == 100 * (fused.scores.argmax(1) == fused.label).mean()
    assert [part["weight"] for part in results["fused"]] == [2, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "1"], "--weights 1: as many as files (2)"),
        (["--weights", "1,x"], "--weights 1,x: numbers with commas"),
        (["--weights", "0,0"], "--weights 0,0: as many as files (2), none below 0 and not all 0"),
        (["no.npz"], "no.npz: not a predictions.npz of 'videoadapt test'"),
    ],
)
def test_a_mistake_in_fusing_is_one_line(arguments, message, demo, tool, tmp_path):
    files = [demo / row / "predictions.npz" for row in ("loki", "control")]
    code, _, err = tool("fuse", *files, *arguments, "--out", tmp_path / "x")
    assert code == 2 and message in err.splitlines()[-1] and not list(tmp_path.iterdir())
