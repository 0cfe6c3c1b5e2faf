"""From a folder of videos to a model, without a config file; and the methods by name."""

import csv
import json
import logging
import shutil

import pytest
import torch
from conftest import TOOLS, encode
from PIL import Image

import videoadapt
from videoadapt.builders import build_model
from videoadapt.config import ModelConfig, load_config
from videoadapt.errors import UserError
from videoadapt.models.backbone import MINI, load_backbone
from videoadapt.workflows.adaptation import CLIP_B16
from videoadapt.workflows.methods import METHODS, method_changes

CONFIGS = TOOLS.parent / "configs"


@pytest.fixture
def folder(tmp_path, video_set):
    """The videos of three colours in folders of classes."""
    root = tmp_path / "my videos"
    with (video_set / "train.csv").open() as file:
        for row in csv.DictReader(file):
            place = root / ["red", "green thing", "blue"][int(row["label"])]
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(video_set / row["path"], place)
    return root


def test_a_folder_becomes_a_model(folder, tmp_path, tool, monkeypatch, capsys):
    out = tmp_path / "run"
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a notebook: nobody has set up logging
    settings = ["optim.lr=1e-2", "data.workers=0", "run.threads=1"]
    model = videoadapt.adapt(folder, "loki", out_dir=out, backbone=MINI, num_frames=4, epochs=10, overrides=settings)
    assert model.classes == ["blue", "green thing", "red"] and not model.training
    told, logger = capsys.readouterr().err, logging.getLogger("videoadapt")
    assert told.count("validation top-1") == 10 and "best top-1" in told and not logger.handlers
    assert "run.precision: auto is " in told and model.config.run.precision != "auto"
    best = videoadapt.classify(model, next((folder / "red").iterdir()), top=1)
    assert best[0].name == "red"
    lists = [len((out / "lists" / f"{split}.csv").read_text().splitlines()) - 1 for split in ("train", "val")]
    assert lists == [9, 3]  # one of four in each class is held out
    code, _, err = tool("test", out / "config.yaml", "--checkpoint", out, f"run.out_dir={tmp_path / 'test'}")
    assert code == 0, err  # the programs go on from there
    assert json.loads((tmp_path / "test" / "results.json").read_text())["num_videos"] == 3
    (folder / "red").rename(folder / "crimson")
    with pytest.raises(UserError, match="holds a run; choose another out_dir"):
        videoadapt.adapt(folder, out_dir=out, backbone=MINI, epochs=1)
    assert (out / "lists" / "classes.txt").read_text() == "blue\ngreen thing\nred\n"  # as the run knows them


def test_pictures_make_an_image_model(tmp_path):
    for split, count in (("train", 4), ("val", 1)):
        for name, colour in (("a", "red"), ("b", "blue")):
            place = tmp_path / "set" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (70, 70), colour).save(place / f"{number}.png")
    model = videoadapt.adapt(
        tmp_path / "set", "lora", out_dir=tmp_path / "run", backbone=MINI, epochs=1, overrides=["data.workers=0"]
    )
    assert model.config.model.num_frames is None and not model.config.model.linears.time.qkv
    assert (tmp_path / "run" / "lists" / "val.csv").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "lokki"}, "method 'lokki': did you mean 'loki'"),
        ({"folder": "no folder"}, "no folder: is no folder"),
        ({"backbone": "vit_base_patch16_224"}, "pretrained: say where the weights of vit_base_patch16_224 are"),
        ({"backbone": CLIP_B16}, "model.pretrained: cannot download"),
        ({"overrides": "optim.epoch=1"}, "adapt: optim: unknown key 'epoch'"),
        ({"epochs": "5"}, "epochs: '5' is no whole number of at least 1"),
        ({"num_frames": 0}, "num_frames: 0 is no whole number"),
    ],
)
def test_a_mistake_is_one_line(changes, message, folder, tmp_path):
    with pytest.raises(UserError, match=message):
        videoadapt.adapt(**{"folder": folder, "out_dir": tmp_path / "run", "backbone": MINI, **changes})
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_split_without_videos_is_named(tmp_path):
    encode(tmp_path / "a.mp4", [torch.zeros(16, 16, 3, dtype=torch.uint8).numpy()] * 2, "libx264")
    (tmp_path / "set" / "train" / "x").mkdir(parents=True)
    shutil.copy(tmp_path / "a.mp4", tmp_path / "set" / "train" / "x")
    with pytest.raises(UserError, match="no videos for val"):
        videoadapt.adapt(tmp_path / "set", out_dir=tmp_path / "run", backbone=MINI)


@pytest.mark.parametrize("method", ["loki", "aim", "karst"])
def test_a_method_by_name_is_that_of_the_configs(method):
    section = load_config(CONFIGS / "diving48" / f"{method}_clip_b16_8f.yaml").model
    with torch.device("meta"):
        width = load_backbone(section.backbone, "none").num_features
    named = ModelConfig.model_validate(method_changes(method, width, video=True))
    assert (named.slots, named.linears, named.unfreeze) == (section.slots, section.linears, section.unfreeze)


@pytest.mark.parametrize("video", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_every_named_method_starts_as_the_frozen_model(method, video):
    section = {"num_frames": 4 if video else None, "num_classes": 3, **method_changes(method, 128, video)}
    frozen = {"num_frames": section["num_frames"], "num_classes": 3}
    models = [build_model(ModelConfig.model_validate(each)).eval() for each in (section, frozen)]
    x = torch.randn(2, 3, *((4,) if video else ()), 64, 64)
    with torch.no_grad():
        features = [model.forward_features(x) for model in models]
    torch.testing.assert_close(*features, rtol=0, atol=1e-4)
    trainable = [sum(p.numel() for p in model.parameters() if p.requires_grad) for model in models]
    assert trainable[0] > trainable[1] or method == "linear"
