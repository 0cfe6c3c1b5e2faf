"""The backbones that are promised: their pixels, their numbers, what they have no place for."""

import numpy as np
import pytest
import timm
import torch
from conftest import GOLDEN, TINY, tiny
from make_goldens import TIMM_MODELS, TIMM_SIZES, fill

from videoadapt.builders import build_model
from videoadapt.errors import UserError
from videoadapt.models.backbone import input_spec, load_backbone

B16 = "vit_base_patch16_clip_quickgelu_224"


def test_open_clip_tags_know_their_pixels():
    large = "vit_large_patch14_clip_224"
    clip = pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert input_spec(large, "open_clip:datacomp_xl_s13b_b90k")["mean"] == clip
    assert input_spec(large, "open_clip:laion2b_s32b_b82k")["mean"] == (0.5, 0.5, 0.5)
    assert input_spec(B16, "/a/file.pt")["mean"] == clip  # all of its tags agree
    assert input_spec("vit_base_patch16_224", "/a/ViT-B_16.npz")["mean"] == (0.5, 0.5, 0.5)


def test_a_file_that_does_not_tell_its_pixels_must_be_told(tmp_path):
    torch.save(timm.create_model("vit_base_patch16_224", **TINY).state_dict(), tmp_path / "w.pt")
    section = {"backbone": "vit_base_patch16_224", "pretrained": str(tmp_path / "w.pt")}
    with pytest.raises(UserError, match="model.mean: the published weights .* set model.mean and model.std"):
        build_model(tiny(**section))
    model = build_model(tiny(**section, mean=[0.4, 0.5, 0.6], std=[0.2, 0.2, 0.2]))
    assert model.mean.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])


# --- families


TESTED = {  # documented in docs/backbones.md
    "vit_base_patch32_clip_quickgelu_224": ["openai", "metaclip_400m"],
    "vit_base_patch16_clip_quickgelu_224": ["openai", "metaclip_400m"],
    "vit_large_patch14_clip_quickgelu_224": ["openai", "metaclip_400m"],
    "vit_base_patch32_clip_224": ["laion2b", "datacompxl"],
    "vit_base_patch16_clip_224": ["laion2b", "datacompxl"],
    "vit_large_patch14_clip_224": ["laion2b", "datacompxl"],
    "vit_base_patch16_224": ["augreg_in21k", "dino"],
    "vit_base_patch14_dinov2": ["lvd142m"],
    "vit_base_patch14_reg4_dinov2": ["lvd142m"],
    "vit_base_patch16_siglip_224": ["webli"],
    "vit_base_patch16_siglip_gap_224": ["webli"],
    "swin_base_patch4_window7_224": ["ms_in22k"],
}


@pytest.mark.parametrize("name", TESTED)
def test_a_documented_backbone_exists_with_its_tags_and_takes_adapters(name):
    tags = {tagged.partition(".")[2] for tagged in timm.list_pretrained(f"{name}.*")}
    assert tags >= set(TESTED[name])
    karst = {"kind": "karst"}
    linears = {"space": {"qkv": karst, "proj": karst}, "mlp": {"fc1": karst, "fc2": karst}}
    model = build_model(tiny(backbone=name, backbone_options={}, num_frames=None, linears=linears), device="meta")
    count = sum(p.numel() for n, p in model.named_parameters() if p.requires_grad and not n.startswith("head"))
    expected = {"vit_base": 301_056, "vit_larg": 24 * 32_768 + 24 * 512, "swin_bas": 397_312}[name[:8]]
    assert count == expected


@pytest.mark.parametrize("name", TIMM_MODELS)
def test_an_adapted_image_model_gives_timm_logits(name):
    golden = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / "timm_classifiers.npz").items()}
    slots = {"space_out": {"kind": "loki", "widths": [4, 9, 4]}, "mlp_side": {"kind": "adapter", "widths": [4]}}
    model = build_model(tiny(backbone=name, num_frames=None, slots=slots)).eval()
    stock = fill(timm.create_model(name, num_classes=5, **TIMM_SIZES)).state_dict()
    head = {key: stock.pop(key) for key in ("head.weight", "head.bias")}
    model.load_state_dict({**{f"backbone.{key}": value for key, value in stock.items()}, **head}, strict=False)
    with torch.no_grad():
        torch.testing.assert_close(model(golden["images"]), golden[name], rtol=0, atol=1e-5)


SWIN = {"embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "img_size": 32, "patch_size": 4, "window_size": 4}


def _tiny_swin(**changes):
    return tiny(backbone="swin_base_patch4_window7_224", backbone_options=SWIN, num_frames=None, **changes)


@pytest.mark.parametrize("kind", ["lora", "karst", "fact", "ssf", "bitfit"])
def test_tuners_on_swin_start_frozen_and_learn(kind):
    options = {"karst": {"m": 4}}.get(kind, {})
    sites = {"space": {"qkv": {"kind": kind, **options}, "proj": {"kind": kind}}, "mlp": {"fc1": {"kind": kind}}}
    images = torch.randn(2, 3, 32, 32)
    fresh, frozen = build_model(_tiny_swin(linears=sites)).eval(), build_model(_tiny_swin()).eval()
    stock = timm.create_model("swin_base_patch4_window7_224", num_classes=0, **SWIN).eval()
    stock.load_state_dict(frozen.backbone.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(fresh.forward_features(images)[:, 0], stock(images), rtol=0, atol=1e-5)
    fresh(images).sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in fresh.parameters())


def test_a_swin_file_is_loaded_whole(tmp_path):
    swin = timm.create_model("swin_base_patch4_window7_224", num_classes=3, **SWIN)
    torch.save({"model": swin.state_dict()}, tmp_path / "swin.pth")
    name = "swin_base_patch4_window7_224"
    again = load_backbone(name, str(tmp_path / "swin.pth"), options=SWIN).state_dict()
    assert all(torch.equal(value, swin.state_dict()[key]) for key, value in again.items())
    with pytest.raises(UserError, match="another backbone"):
        load_backbone(name, str(tmp_path / "swin.pth"), options={**SWIN, "depths": [1, 1]})
    with pytest.raises(UserError, match="no weights for|another backbone"):
        load_backbone(B16, str(tmp_path / "swin.pth"), options={**TINY, "patch_size": 4})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slots": {"space_out": {"kind": "adapter", "widths": [4]}}}, "model.slots.space_out: swin_.* has no place"),
        ({"linears": {"time": {"proj": {"kind": "ssf"}}}}, "model.linears.time.proj: a time branch needs"),
        ({"prompt": {"tokens": 2}}, "model.prompt: swin_.* has no place for it; it takes tuners"),
        ({"drop_path": 0.1}, "model.drop_path: .*set model.backbone_options.drop_path_rate"),
    ],
)
def test_what_swin_has_no_place_for(changes, message):
    with pytest.raises(UserError, match=message):
        build_model(_tiny_swin(**changes))


def test_swin_sees_a_clip_frame_by_frame():
    config = tiny(backbone="swin_base_patch4_window7_224", backbone_options=SWIN, temporal_embedding=False)
    model, clips = build_model(config).eval(), torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        frames = torch.stack([model.forward_features(clips[:, :, t])[:, 0] for t in range(4)], 1)
        torch.testing.assert_close(model.forward_features(clips), frames, rtol=0, atol=1e-5)
