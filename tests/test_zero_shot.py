"""CLIP itself as a classifier: the numbers of open_clip, the mean of frames, one line for every mistake."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from conftest import CLIP_B16 as B16
from conftest import GOLDEN, TINY

import videoadapt
from videoadapt.builders import build_model
from videoadapt.errors import UserError
from videoadapt.models.templates import TEMPLATES, templates


@pytest.fixture
def zero_shot_config(small_clip, video_set, tmp_path):
    model = {"backbone": B16, "pretrained": str(small_clip), "backbone_options": TINY}
    slots = {"mlp_side": {"kind": "kan", "widths": [2]}}
    data = {"val": str(video_set / "val.csv"), "root": str(video_set), "classes": str(video_set / "classes.txt")}
    config = {
        "model": {**model, "slots": slots, "num_frames": 4, "zero_shot": "action"},
        "data": {**data, "num_classes": 3, "workers": 0},
        "run": {"out_dir": str(tmp_path / "run")},
    }
    (tmp_path / "zs.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "zs.yaml"


def _names(tmp_path, *names):
    (tmp_path / "names.txt").write_text("\n".join(names))
    return f"data.classes={tmp_path / 'names.txt'}"


def test_zero_shot_logits_equal_open_clip(zero_shot_config, tmp_path):
    golden = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / "open_clip_zero_shot.npz").items()}
    wording = 'model.zero_shot=["a photo of {}.", "a video of {}."]'
    names = _names(tmp_path, "clap", "brush_hair", "ride horse")
    model = videoadapt.builders.build_zero_shot(videoadapt.load_config(zero_shot_config, [wording, names]))
    images = golden["images"]
    with torch.no_grad():
        torch.testing.assert_close(model(images), golden["logits"], rtol=0, atol=1e-4)
        frames = F.normalize(golden["image_features"], dim=-1)
        video = F.normalize(frames.mean(0), dim=0)
        clip = images.transpose(0, 1)[None]  # the three images as the frames of one video
        torch.testing.assert_close(model(clip)[0], model.scale * video @ model.classes, rtol=0, atol=1e-5)


def test_zero_shot_scores_do_not_lose_precision_to_autocast(zero_shot_config):
    model = videoadapt.builders.build_zero_shot(videoadapt.load_config(zero_shot_config))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.randn(2, 3, 32, 32))
    assert logits.dtype == torch.float32


def test_a_zero_shot_test_needs_no_checkpoint(zero_shot_config, tool, tmp_path):
    code, out, err = tool("test", zero_shot_config, "--views", "4x2x3")
    assert code == 0, err
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["num_videos"] == 5 and results["views"] == "4x2x3" and results["checkpoint"] is None
    assert results["config"]["model"]["zero_shot"] == "action" and "green thing" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.zero_shot=actoin"], "model.zero_shot: no templates 'actoin'; did you mean 'action'?"),
        (["model.zero_shot=[a photo]"], "model.zero_shot: template 'a photo' needs one {} for the class name"),
        (["data.classes=null"], "model.zero_shot: compares class names; name their file in data.classes"),
        (["model.zero_shot=null"], "a test takes --checkpoint FILE or, without one, model.zero_shot=<templates>"),
        (["--checkpoint", "x.safetensors"], "a test takes --checkpoint FILE or, without one"),
        (
            ["model.pretrained=none"],
            "model.pretrained: 'none' has no text tower; use open_clip:<tag>, openai or a file",
        ),
        (["model.backbone=vit_base_patch16_224"], "no weights for norm_pre.weight|no weights for"),
    ],
)
def test_a_zero_shot_mistake_is_one_line(arguments, message, zero_shot_config, tool):
    code, _, err = tool("test", zero_shot_config, *arguments)
    assert code == 2 and err.count("\n") == 1 and any(part in err for part in message.split("|"))


def test_a_tower_without_text_cannot_test_zero_shot(zero_shot_config, small_clip, tool):
    state = torch.load(small_clip, weights_only=True)
    torch.save({key: value for key, value in state.items() if key.startswith("visual.")}, small_clip)
    code, _, err = tool("test", zero_shot_config)
    assert code == 2 and "zero-shot needs CLIP's text tower too" in err


@pytest.mark.parametrize(
    ("key", "dtype", "message"),
    [
        ("text_projection", torch.int8, "text_projection holds int8; quantised"),
        ("logit_scale", torch.bool, "holds bool"),
    ],
)
def test_a_quantised_text_tower_is_refused(key, dtype, message, zero_shot_config, small_clip):
    state = torch.load(small_clip, weights_only=True)
    torch.save({**state, key: state[key].to(dtype)}, small_clip)
    with pytest.raises(UserError, match=message):
        videoadapt.builders.build_zero_shot(videoadapt.load_config(zero_shot_config))


def test_both_towers_lose_a_prefix_and_have_the_activation_of_the_backbone(zero_shot_config, small_clip):
    plain = videoadapt.builders.build_zero_shot(videoadapt.load_config(zero_shot_config))
    state = torch.load(small_clip, weights_only=True)
    torch.save({"state_dict": {f"clip.{key}": value for key, value in state.items()}}, small_clip)
    prefixed = videoadapt.builders.build_zero_shot(videoadapt.load_config(zero_shot_config))
    assert torch.equal(prefixed.classes, plain.classes)
    changes = ["model.backbone_options.act_layer=gelu"]
    other = videoadapt.builders.build_zero_shot(videoadapt.load_config(zero_shot_config, changes))
    assert not torch.equal(other.classes, plain.classes)


def test_training_refuses_zero_shot(zero_shot_config):
    with pytest.raises(UserError, match="model.zero_shot: a test of the bare CLIP"):
        build_model(videoadapt.load_config(zero_shot_config).model)


def test_every_template_takes_one_name():
    for name in [*TEMPLATES, "imagenet"]:
        assert all(text.count("{}") == 1 for text in templates(name))
    assert len(templates("imagenet")) == 80 and len(templates("action")) == 28
