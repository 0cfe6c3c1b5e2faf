"""Weights run with the activation that they were trained with, or not at all."""

import argparse
import json

import open_clip
import pytest
import timm
import torch
from conftest import CLIP_B16 as QUICK
from conftest import TINY
from make_goldens import fill
from open_clip.pretrained import _PRETRAINED
from safetensors.torch import save_file
from torch import nn

from videoadapt.errors import UserError
from videoadapt.models.activation import tag_uses_quickgelu, uses_quickgelu
from videoadapt.models.backbone import load_backbone
from videoadapt.models.pretrained import _OPEN_CLIP_NAMES

PLAIN = "vit_base_patch16_clip_224"


def noted():
    """timm's tags whose notes say QuickGELU."""
    configs = {name: timm.models.get_pretrained_cfg(name) for name in timm.list_pretrained("vit_*")}
    return [name for name, config in configs.items() if any("QuickGELU" in note for note in config.notes or ())]


NOTED = noted()
BY_PLAIN_NAMES = [name for name in NOTED if "quickgelu" not in name]


def test_timm_notes_the_families_that_it_did():
    found = {name.partition(".")[2] for name in BY_PLAIN_NAMES}
    assert found >= {
        "openai",
        "metaclip_400m",
        "metaclip_2pt5b",
        "metaclip2_worldwide",
        "dfn2b",
        "dfn5b",
        "laion400m_e32",
    }
    assert len(BY_PLAIN_NAMES) >= 17


def test_weights_that_timm_has_by_the_plain_name_alone_are_found_elsewhere():
    with pytest.raises(UserError, match=f"use backbone {QUICK} with open_clip:dfn2b$"):
        load_backbone(PLAIN, "dfn2b", options=TINY)


@pytest.mark.parametrize("tagged", [*BY_PLAIN_NAMES, f"{PLAIN}.dfn2b"])
def test_a_tag_of_quickgelu_is_refused_by_the_plain_backbone(tagged, no_hub):
    name, _, tag = tagged.partition(".")
    right = name.replace("_clip_", "_clip_quickgelu_")
    with pytest.raises(
        UserError, match=f"{tagged} was trained with QuickGELU, another activation; use backbone {right}"
    ):
        load_backbone(name, tag, options=TINY)
    with pytest.raises(UserError, match="cannot download|no tag of .*open_clip"):  # the right one goes on to the hub
        load_backbone(right, tag, options=TINY)


@pytest.mark.parametrize("name", sorted({name.partition(".")[0] for name in NOTED if "quickgelu" in name}))
def test_a_plain_tag_is_refused_by_the_quickgelu_backbone(name, no_hub):
    plain = name.replace("_quickgelu", "")
    tags = [tagged.partition(".")[2] for tagged in timm.list_pretrained(f"{plain}.*")]
    for tag in tags:
        if not tag_uses_quickgelu(plain, tag):
            with pytest.raises(UserError, match=f"{tag} was trained with GELU, another .*; use backbone {plain}"):
                load_backbone(name, tag, options=TINY)
            with pytest.raises(UserError, match="cannot download"):
                load_backbone(plain, tag, options=TINY)


@pytest.fixture
def no_hub(monkeypatch):
    create = timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise OSError("no network")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)


def test_timms_notes_and_open_clips_table_agree():
    by_hub = {config.get("hf_hub", "").rstrip("/"): config for tags in _PRETRAINED.values() for config in tags.values()}
    for name in timm.list_pretrained("vit_*"):
        same = [
            by_hub[hub] for hub in (timm.models.get_pretrained_cfg(name).hf_hub_id, f"timm/{name}") if hub in by_hub
        ]
        assert all(bool(config.get("quick_gelu")) == tag_uses_quickgelu(*name.split(".")) for config in same), name
    for name, theirs in _OPEN_CLIP_NAMES.items():
        for tag in {tagged.partition(".")[2] for tagged in timm.list_pretrained(f"{name}.*")} & _PRETRAINED[
            theirs
        ].keys():
            assert bool(_PRETRAINED[theirs][tag].get("quick_gelu")) == tag_uses_quickgelu(name, tag), (name, tag)


@pytest.mark.parametrize(
    ("name", "tag", "activation", "message"),
    [
        (PLAIN, "openai", "quick_gelu", "cannot download"),
        (PLAIN, "open_clip:metaclip_400m", "quick_gelu", "cannot download"),
        (PLAIN, "laion2b", "quick_gelu", "with GELU, another activation; set model.backbone_options.act_layer=gelu"),
        (QUICK, "openai", "gelu", "with QuickGELU, another .*; set model.backbone_options.act_layer=quick_gelu"),
        (QUICK, "open_clip:openai", "gelu", "with QuickGELU, another .*; set model.backbone_options.act_layer=quick"),
    ],
)
def test_what_counts_is_the_activation_that_was_built(name, tag, activation, message, no_hub, monkeypatch):
    monkeypatch.setattr(open_clip, "download_pretrained", lambda source: 1 / 0)
    with pytest.raises(UserError, match=message):
        load_backbone(name, tag, options={**TINY, "act_layer": activation})


# --- files


def vit_state():
    return fill(timm.create_model(QUICK, num_classes=0, **TINY)).state_dict()


def clip(quick):
    sizes = {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8}
    return open_clip.CLIP(32, sizes, {"width": 32, "heads": 2, "layers": 1}, quick_gelu=quick)


def script(path, quick):
    torch.jit.script(clip(quick).half()).save(str(path))


def trace(path, quick):
    torch.jit.trace(clip(quick).visual, torch.zeros(1, 3, 32, 32)).save(str(path))


def openai_state(path, quick):
    numbers = {name: torch.tensor(32) for name in ("input_resolution", "context_length", "vocab_size")}
    torch.save({f"module.{key}": value for key, value in {**clip(True).state_dict(), **numbers}.items()}, path)


def described(path, quick, **config):
    save_file(vit_state(), path)
    path.with_name("open_clip_config.json" if "model_cfg" in config else "config.json").write_text(json.dumps(config))


def open_clip_folder(path, quick):
    described(path, quick, model_cfg={"embed_dim": 32, **({"quick_gelu": True} if quick else {})})


def timm_folder(path, quick):
    source = {"tag": "openai" if quick else "laion2b"}
    described(path, quick, architecture=PLAIN, num_classes=0, pretrained_cfg=source)


def timm_training(path, quick):
    torch.save({"arch": QUICK if quick else PLAIN, "state_dict": vit_state(), "version": 2}, path)


def timm_arguments(path, quick):
    torch.save({"model": vit_state(), "args": argparse.Namespace(model=QUICK if quick else PLAIN)}, path)


def open_clip_training(path, quick):
    torch.save({"epoch": 3, "name": "2026_01_01-model_ViT-B-16-quickgelu-lr_1e-3", "state_dict": vit_state()}, path)


def by_its_name(path, quick):
    save_file(vit_state(), path)


HUB = "models--timm--vit_base_patch16_clip_224"
FILES = [
    (script, "ViT-B-16.pt", True),
    (script, "ViT-B-16.pt", False),
    (trace, "tower.pt", True),
    (trace, "tower.pt", False),
    (openai_state, "w.pt", True),
    (open_clip_folder, "open_clip_model.safetensors", True),
    (open_clip_folder, "open_clip_pytorch_model.safetensors", False),
    (timm_folder, "model.safetensors", True),
    (timm_folder, "model.safetensors", False),
    (timm_training, "last.pth.tar", True),
    (timm_training, "last.pth.tar", False),
    (timm_arguments, "checkpoint.pth", True),
    (timm_arguments, "checkpoint.pth", False),
    (open_clip_training, "epoch_3.pt", True),
    (by_its_name, "vit_b_16-quickgelu-metaclip.safetensors", True),
    (by_its_name, "vit_base_patch16_clip_224.openai.safetensors", True),
    (by_its_name, "vit_base_patch16_clip_224.laion2b.safetensors", False),
    (by_its_name, f"{HUB}.metaclip_400m/snapshots/1f/model.safetensors", True),
    (by_its_name, f"{HUB}.datacompxl/snapshots/1f/model.safetensors", False),
]


@pytest.mark.parametrize(("write", "file", "quick"), FILES)
def test_a_file_that_tells_its_activation_goes_into_its_backbone_alone(write, file, quick, tmp_path, caplog):
    caplog.set_level("INFO", "videoadapt")
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, quick)
    right, wrong = (QUICK, PLAIN) if quick else (PLAIN, QUICK)
    load_backbone(right, str(path), options=TINY)
    kind = "QuickGELU" if quick else "GELU"
    with pytest.raises(UserError, match=f"{path} was trained with {kind}, another activation; use backbone {right}$"):
        load_backbone(wrong, str(path), options=TINY)
    load_backbone(wrong, str(path), options={**TINY, "act_layer": "quick_gelu" if quick else "gelu"})
    assert not any("activation" in line for line in caplog.messages)


def no_config(path):
    save_file(vit_state(), path)
    path.with_name("open_clip_config.json").write_text("{not json")
    path.with_name("config.json").write_text('["a list"]')


def other_activation(path):
    """timm's arguments name the backbone, and an activation that is not its own."""
    arguments = argparse.Namespace(model=PLAIN, model_kwargs={"act_layer": "quick_gelu"})
    torch.save({"model": vit_state(), "args": arguments}, path)


@pytest.mark.parametrize(
    ("write", "file"),
    [
        (lambda path: save_file(vit_state(), path), "w.safetensors"),
        (lambda path: torch.save(clip(True).state_dict(), path), "w.pt"),
        (no_config, "open_clip_model.safetensors"),
        (no_config, "model.safetensors"),
        (other_activation, "w.pt"),
        (lambda path: save_file(vit_state(), path), "vit_base_patch16_clip_224.safetensors"),
    ],
)
@pytest.mark.parametrize(("name", "kind", "other"), [(QUICK, "QuickGELU", PLAIN), (PLAIN, "GELU", QUICK)])
def test_the_log_says_which_activation_is_assumed(write, file, name, kind, other, tmp_path, caplog):
    caplog.set_level("INFO", "videoadapt")
    write(tmp_path / file)
    vit = load_backbone(name, str(tmp_path / file), options=TINY)
    assert uses_quickgelu(vit) == (kind == "QuickGELU")
    assert f"{file}: does not tell its activation; {kind} is assumed; {other} has the other" in caplog.text


def test_a_backbone_that_has_one_activation_alone_says_nothing(tmp_path, caplog):
    caplog.set_level("INFO", "videoadapt")
    save_file(timm.create_model("vit_base_patch14_dinov2", **TINY).state_dict(), tmp_path / "w.safetensors")
    load_backbone("vit_base_patch14_dinov2", str(tmp_path / "w.safetensors"), options=TINY)
    assert not caplog.messages


def test_quickgelu_is_recognised_in_every_library():
    assert not uses_quickgelu(nn.GELU()) and not uses_quickgelu(clip(False))
    assert uses_quickgelu(clip(True)) and uses_quickgelu(timm.layers.QuickGELU())
