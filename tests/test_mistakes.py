"""What can be wrong with a training: one line, exit code 2, and nothing is written."""

import pytest
import torch
from conftest import bad_list

TRAIN_MISTAKES = {
    "unknown key": (lambda t: ["optim.epoch=3"], r"config.yaml: optim: unknown key 'epoch'; did you mean 'epochs'?"),
    "wrong type": (lambda t: ["optim.lr=fast"], "optim.lr: input should be a valid number, got 'fast'"),
    "missing list": (lambda t: [f"data.train={t / 'no.csv'}"], "no.csv: cannot read the list file"),
    "no list": (lambda t: ["data.train=null"], "data.train: is missing"),
    "no label": (
        lambda t: [f"data.train={bad_list(t, 'a.mp4')}"],
        "bad.csv:1: no integer label at the end of 'a.mp4'",
    ),
    "label too high": (lambda t: [f"data.val={bad_list(t, 'a.mp4 3')}"], "label 3 of 'a.mp4' is out of range"),
    "missing video": (lambda t: [f"data.train={bad_list(t, 'gone.mp4 1')}"], "1 of 1 videos are missing below"),
    "path outside": (
        lambda t: [f"data.train={bad_list(t, '/etc/passwd 1')}"],
        "'/etc/passwd' leads out of data.root",
    ),
    "path above": (lambda t: [f"data.val={bad_list(t, '../../x.mp4 1')}"], "data.absolute_paths=true allows that"),
    "too few videos": (
        lambda t: ["optim.batch_size=64"],
        "12 videos are fewer than one global batch of 64; lower optim.batch_size or optim.accumulate",
    ),
    "device": (lambda t: ["run.device=tpu9"], "run.device: no device 'tpu9'"),
    "no gpu": (lambda t: ["run.device=cuda"], "run.device: 'cuda' asked for, but torch sees no GPU"),
    "fp16 on cpu": (lambda t: ["run.precision=fp16", "run.device=cpu"], "fp16 trains on CUDA alone"),
    "precision": (lambda t: ["run.precision=half"], "run.precision: input should be 'auto', 'fp32', 'bf16' or 'fp16'"),
    "deterministic": (lambda t: ["run.deterministic=warn"], "run.deterministic: input should be a valid boolean"),
    "nothing to resume": (lambda t: ["run.resume=true"], "nothing to resume"),
    "class names": (lambda t: [f"data.classes={bad_list(t, 'x')}"], "names 1 classes, data.num_classes is 3"),
    "no such weights": (
        lambda t: ["model.pretrained=openai"],
        "no weights 'openai' of vit_mini_patch16_clip_64; choose from: embedded, a weight file, or none for random",
    ),
    "backbone": (
        lambda t: ["model.backbone=clip"],
        "model.backbone: timm has no 'clip'; e.g. vit_mini_patch16_clip_64, vit_",
    ),
    "block": (
        lambda t: ["model.backbone=vit_relpos_base_patch16_224"],
        "choose one that is, such as vit_base_patch16_224, or a Swin",
    ),
    "no such layer": (
        lambda t: [
            "model={backbone: aimv2_large_patch14_224, pretrained: none, linears: {mlp: {fc1: {kind: lora}}}, "
            "backbone_options: {depth: 1, embed_dim: 64, num_heads: 2, img_size: 28}}"
        ],
        "model.linears: SwiGLU in this backbone has no layer fc1; leave it out",
    ),
    "weights": (lambda t: ["model.pretrained=/no/weights.pt"], "no such weight file"),
    "merged": (lambda t: ["model.merge=true"], "model.merge: merged tuners cannot learn; it is for 'videoadapt test'"),
    "checkpointing": (lambda t: ["run.activation_checkpointing=all"], "run.activation_checkpointing: input should be"),
}


@pytest.mark.parametrize("name", TRAIN_MISTAKES)
def test_a_training_mistake_is_one_line_and_code_2(name, config, tool, tmp_path):
    if name == "no gpu" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    overrides, message = TRAIN_MISTAKES[name]
    code, _, err = tool("train", config, *overrides(tmp_path))
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_too_many_unreadable_training_videos_stop_the_run(config, tool, tmp_path, video_set):
    names = [line.split(",")[0] for line in (video_set / "train.csv").read_text().splitlines()[1:]]
    (tmp_path / "broken.mp4").write_text("no video")
    lines = [f"{tmp_path / 'broken.mp4'} 0", *(f"{name} 1" for name in names)]
    train = [f"data.train={bad_list(tmp_path, chr(10).join(lines))}", "data.absolute_paths=true"]
    code, _, err = tool("train", config, *train, "optim.epochs=5", "run.overwrite=true")
    assert code == 2 and "1 of 13 training videos are unreadable" in err and "broken.mp4" in err
    code, _, err = tool("train", config, *train, "data.max_bad_share=0.1", "run.overwrite=true")
    assert code == 0


@pytest.mark.parametrize("command", ["train", "study"])
@pytest.mark.parametrize(
    ("name", "what"), [("best.safetensors", "a checkpoint"), ("resume_1.pt", "a checkpoint"), ("a.mp4", "no text")]
)
def test_what_is_no_config_is_called_by_its_name(command, name, what, tool, tmp_path):
    (tmp_path / name).write_bytes(b"\x80\xff\x00")
    code, _, err = tool(command, tmp_path / name)
    why = f"cannot read the config: it is {what}; a config is a YAML file, or the name of a packaged one"
    assert (code, err) == (2, f"error: {tmp_path / name}: {why}\n")


def test_tabs_are_spaces_that_went_wrong(tool, tmp_path):
    (tmp_path / "c.yaml").write_text("data:\n\tnum_classes: 3\n")
    code, _, err = tool("train", tmp_path / "c.yaml")
    assert code == 2 and r"line 2: found character '\t' that cannot start any token; indent with spaces" in err


def test_weights_that_cannot_be_fetched_are_one_line_and_few_tries(config, tool, monkeypatch, caplog):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setattr("urllib.request.getproxies", dict)
    section = "model={backbone: vit_tiny_patch16_224, pretrained: augreg_in21k, num_frames: 4}"
    code, _, err = tool("train", config, section)
    assert code == 2 and err.count("\n") == 1 and "cannot download vit_tiny_patch16_224.augreg_in21k" in err
    assert "weights: vit_tiny_patch16_224.augreg_in21k, from the cache, or fetched into it" in caplog.messages
    assert not [record for record in caplog.records if record.name.startswith("huggingface_hub")]


def test_a_list_that_lies_elsewhere_keeps_its_report(tool, tmp_path, monkeypatch, video_set):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text((video_set / "val.csv").read_text())
    (tmp_path / "list.csv.report.csv").write_text("of yesterday")
    code, _, err = tool("check", "list.csv")
    assert (code, err) == (2, "error: list.csv: none of its 5 files is below '.'; --root says where they are\n")
    assert (tmp_path / "list.csv.report.csv").read_text() == "of yesterday"
