"""The block and the classifier against AIM, open_clip and timm."""

import time

import numpy as np
import open_clip
import pytest
import timm
import torch
from conftest import GOLDEN, TINY, perturb, tiny
from safetensors.torch import load_file, save_file

from videoadapt.build import build_model
from videoadapt.errors import UserError
from videoadapt.models.aim import load_aim
from videoadapt.models.backbone import MINI, MINI_WEIGHTS, input_spec, load_backbone
from videoadapt.models.pretrained import fingerprint

B16 = "vit_base_patch16_clip_quickgelu_224"
ADAPTER = {"kind": "adapter", "widths": [16]}
AIM_SLOTS = {"time_out": ADAPTER, "space_out": ADAPTER, "mlp_side": {**ADAPTER, "scale": 0.5}}


def test_aim_weights_give_aim_features():
    golden = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / "aim_small.npz").items()}
    options = {**TINY, "depth": 3}
    model = build_model(tiny(backbone_options=options, num_classes=None, slots=AIM_SLOTS)).eval()
    load_aim(model, {key[2:]: value for key, value in golden.items() if key.startswith("w:")})
    with torch.no_grad():
        features = model.forward_features(golden["x"])
    torch.testing.assert_close(features.transpose(1, 2), golden["y"], rtol=0, atol=1e-5)


def test_aim_weights_need_aim_places():
    golden = {key[2:]: torch.from_numpy(v) for key, v in np.load(GOLDEN / "aim_small.npz").items() if key[:2] == "w:"}
    model = build_model(tiny(backbone_options={**TINY, "depth": 3}, num_classes=None, slots={"time_out": ADAPTER}))
    with pytest.raises(UserError, match="AIM weights and model differ in backbone.blocks.0.mlp_side"):
        load_aim(model, golden)


@pytest.fixture(scope="module")
def open_clip_file(tmp_path_factory):
    """open_clip's ViT-B-16 with random weights, saved by open_clip's own model, and its image features."""
    torch.manual_seed(0)
    clip = open_clip.create_model("ViT-B-16-quickgelu").eval()
    path = tmp_path_factory.mktemp("clip") / "open_clip_pytorch_model.bin"
    torch.save(clip.state_dict(), path)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        return path, images, clip.encode_image(images)


def test_an_open_clip_file_gives_open_clip_features(open_clip_file):
    path, images, expected = open_clip_file
    vit = load_backbone(B16, str(path), num_classes=512).eval()
    with torch.no_grad():
        torch.testing.assert_close(vit(images), expected, rtol=0, atol=1e-4)


def test_an_open_clip_file_works_through_the_config(open_clip_file):
    path, images, expected = open_clip_file
    model = build_model(tiny(backbone=B16, backbone_options={}, pretrained=str(path), num_classes=None)).eval()
    projection = torch.load(path, weights_only=True)["visual.proj"]
    with torch.no_grad():
        torch.testing.assert_close(model(images) @ projection, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("visual.transformer.resblocks.7.mlp.c_fc.weight"), "no weights for blocks.7.mlp.fc1"),
        (lambda state: state.update({"visual.ln_post.weight": torch.ones(3)}), r"norm.weight has shape \(3,\)"),
        (lambda state: [state.pop(k) for k in list(state) if k.startswith("visual.")], "no weights for cls_token"),
    ],
)
def test_a_partial_file_is_an_error(open_clip_file, tmp_path, change, message):
    state = torch.load(open_clip_file[0], weights_only=True)
    change(state)
    torch.save(state, tmp_path / "partial.pt")
    with pytest.raises(UserError, match=message):
        load_backbone(B16, str(tmp_path / "partial.pt"))


@pytest.mark.parametrize("size", [(4, 2), (2, 4)])
def test_weights_of_another_depth_are_an_error(size, tmp_path):
    saved, wanted = size
    save_file(timm.create_model(B16, **{**TINY, "depth": saved}).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="another backbone|another one"):
        load_backbone(B16, str(tmp_path / "w.safetensors"), options={**TINY, "depth": wanted})


class Exploit:
    def __reduce__(self):
        return (time.sleep, (0,))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.safetensors", b"garbage", "not a readable weight file"),
        ("w.pt", b"garbage", "not a readable weight file"),
        ("w.pt", b"", "not a readable weight file"),
        ("w.pt", Exploit(), "not a readable weight file"),
        ("w.pt", {"a": 1}, "not a state dict of tensors"),
        ("missing.pt", None, "no such weight file"),
    ],
)
def test_unusable_weight_files(name, content, message, tmp_path):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=message):
        load_backbone(B16, str(path), options=TINY)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"pretrained": "openay"}, "'openay' is no tag of vit_base_patch16_clip_quickgelu_224.*openai"),
        ({"pretrained": "embedded"}, "embedded weights exist for vit_mini_patch16_clip_64 alone"),
        ({"pretrained": "open_clip:nope"}, "'nope' is no open_clip tag of ViT-B-16-quickgelu"),
        ({"pretrained": "openai"}, "cannot download .*openai"),
        (
            {"backbone": "vit_base_patch16_clip_224", "pretrained": "open_clip:openai"},
            "another activation; use backbone .*_quickgelu_224",
        ),
        ({"backbone": "vit_base_patch16_clip_quickgelu_22"}, "did you mean 'vit_base_patch16_clip_quickgelu_224'"),
        ({"backbone": "resnet18"}, "resnet18 is not built from timm's standard ViT block|refuses"),
        ({"backbone_options": {"embed_dimm": 64}}, "model.backbone_options: .* refuses"),
    ],
)
def test_unusable_backbones(model, message):
    with pytest.raises(UserError, match=message):
        build_model(tiny(**model))


def test_weights_of_another_patch_size_are_an_error(tmp_path):
    other = timm.create_model(B16, **{**TINY, "patch_size": 16, "img_size": 64})
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="has patches of 16 pixels, the backbone of 8"):
        load_backbone(B16, str(tmp_path / "w.safetensors"), options=TINY)


def test_pixels_are_normalised_as_the_tag_was_trained():
    assert input_spec("vit_base_patch16_224", "dino")["mean"] == pytest.approx((0.485, 0.456, 0.406))
    assert input_spec("vit_base_patch16_224", "augreg_in21k")["mean"] == (0.5, 0.5, 0.5)
    assert input_spec(B16, "openai", options={"img_size": 96})["image_size"] == 96


def test_pretrained_none_is_the_same_every_time():
    assert fingerprint(load_backbone(B16, "none", options=TINY)) == fingerprint(
        load_backbone(B16, "none", options=TINY)
    )


def test_the_embedded_backbone_is_small_and_loads_exactly():
    assert MINI_WEIGHTS.stat().st_size < 4e6
    stored = load_file(MINI_WEIGHTS)
    vit = load_backbone(MINI, "embedded")
    assert all(torch.equal(value, stored[key].float()) for key, value in vit.state_dict().items())


def test_a_file_of_another_resolution_is_interpolated(tmp_path):
    save_file(timm.create_model(B16, **TINY, num_classes=0).state_dict(), tmp_path / "w.safetensors")
    vit = load_backbone(B16, str(tmp_path / "w.safetensors"), options=TINY, image_size=48)
    assert vit.pos_embed.shape == (1, 37, 64)


# --- the classifier


@pytest.fixture(scope="module")
def loki():
    spec = {"kind": "loki", "widths": [4, 9, 4]}
    model = build_model(tiny(slots={"time_out": spec, "space_out": spec, "mlp_side": spec})).eval()
    perturb(model)
    return model


def test_an_image_is_what_timm_makes_of_it():
    vit = load_backbone(B16, "none", options=TINY)
    model = build_model(tiny(num_frames=None, num_classes=None)).eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images), vit.eval()(images), rtol=0, atol=1e-6)
        assert torch.equal(model(images), model(images[:, :, None]))


def test_frames_are_independent_without_a_time_branch_and_meet_with_one(loki):
    clip = torch.randn(1, 3, 4, 32, 32)
    other = clip.clone()
    other[:, :, 2] = torch.randn(1, 3, 32, 32)
    frozen = build_model(tiny()).eval()
    with torch.no_grad():
        unlike = (frozen.forward_features(clip) != frozen.forward_features(other)).any(-1)[0]
        assert unlike.tolist() == [False, False, True, False]
        assert (loki.forward_features(clip) != loki.forward_features(other)).any(-1).all()


def test_clips_of_a_batch_do_not_mix(loki):
    clips = torch.randn(3, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loki(clips)[1:2], loki(clips[1:2]), rtol=0, atol=1e-5)


def test_order_of_time_and_space_matters_and_is_obeyed(loki):
    spec = {"kind": "loki", "widths": [4, 9, 4]}
    swapped = build_model(tiny(order="space_first", slots={"time_out": spec, "space_out": spec, "mlp_side": spec}))
    swapped.load_state_dict(loki.state_dict())
    clips = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(swapped.eval()(clips), loki(clips), atol=1e-4)


def test_without_temporal_embedding_and_time_branch_the_order_of_frames_is_invisible():
    model = build_model(tiny(temporal_embedding=False)).eval()
    perturb(model)
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(clips), model(clips.flip(2)), rtol=0, atol=1e-6)


def test_uint8_pixels_are_normalised_inside(loki):
    pixels = torch.randint(0, 256, (1, 3, 4, 32, 32), dtype=torch.uint8)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(loki(pixels), loki((pixels / 255 - mean) / std), rtol=0, atol=1e-5)


def test_another_number_of_frames_interpolates_the_temporal_embedding(loki):
    embedding = loki._temporal_embedding(7)
    assert embedding.shape == (7, 1, 64)
    torch.testing.assert_close(loki._temporal_embedding(4), loki.temporal_embedding)
    assert loki(torch.randn(1, 3, 7, 32, 32)).shape == (1, 5)


def test_drop_path_drops_whole_clips():
    spec = {"kind": "adapter", "widths": [4]}
    model = build_model(tiny(slots={"mlp_side": spec}, drop_path=0.5)).train()
    perturb(model)
    block = model.backbone.blocks[-1]
    assert [b.drop_path for b in model.backbone.blocks] == [0.0, 0.5]
    dropped = (block._dropped(torch.ones(64 * 4, 3, 8), t=4) == 0).view(64, -1)
    assert (dropped.all(1) | ~dropped.any(1)).all()
    assert 10 < dropped.all(1).sum() < 54
    block.eval()
    assert torch.equal(block._dropped(torch.ones(8, 3, 8), t=4), torch.ones(8, 3, 8))


def test_counts_of_the_papers():
    """LoKi Tables 2, 4 and 7, KARST Table 1: exact numbers of trainable parameters."""
    loki, adapter, kan = {"kind": "loki", "widths": [48, 97, 48]}, {"kind": "adapter", "widths": [192]}, {"kind": "kan"}
    karst, rst, lora = {"kind": "karst"}, {"kind": "karst", "rst": "channel"}, {"kind": "lora", "rank": 4}
    video = {"num_frames": 32, "num_classes": 48, "unfreeze": ["norm"]}
    image = {"num_frames": None, "num_classes": None}
    three = lambda spec: {"time_out": spec, "space_out": spec, "mlp_side": spec}  # noqa: E731
    two = lambda spec: {"space_out": spec, "mlp_side": spec}  # noqa: E731
    ledger = [
        ({**video}, 63_024),
        ({**video, "slots": three(loki)}, 6_098_928),
        ({**video, "slots": three(adapter)}, 10_714_416),
        ({**image, "slots": two(loki)}, 4_023_936),
        ({**image, "slots": two(adapter)}, 7_100_928),
        ({**image, "slots": two({**kan, "widths": [11]})}, 4_055_040),
        ({**image, "linears": {"space": {"qkv": lora, "proj": lora}}}, 294_912),
        ({**image, "linears": {"space": {"qkv": karst, "proj": karst}, "mlp": {"fc1": karst, "fc2": karst}}}, 301_056),
        ({**image, "linears": {"space": {"qkv": karst, "proj": rst}, "mlp": {"fc1": karst, "fc2": rst}}}, 337_920),
    ]
    for section, expected in ledger:
        model = build_model(tiny(backbone_options={}, **section), device="meta")
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"slots": {"time_out": {"kind": "lokii"}}}, "model.slots.time_out: no kind 'lokii'; did you mean 'loki'"),
        ({"slots": {"time_out": {"widths": [4]}}}, "model.slots.time_out: 'kind' is missing"),
        ({"slots": {"space_out": {"kind": "loki", "width": [4]}}}, "unknown key 'width'; did you mean 'widths'"),
        ({"slots": {"space_out": {"kind": "loki"}}}, "model.slots.space_out.widths: is missing"),
        ({"slots": {"space_out": {"kind": "adapter", "widths": [2.5]}}}, "widths.0: .*valid integer"),
        ({"slots": {"space_out": {"kind": "adapter", "widths": []}}}, "widths: .*at least 1 item"),
        ({"slots": {"time_in": {"kind": "adapter", "widths": [4]}}}, "model.slots.time_in: .*not start at zero"),
        ({"linears": {"time": {"qkv": {"kind": "lora"}}}}, "model.linears.time.qkv: .*not start at zero"),
        ({"linears": {"time": {"proj": {"kind": "karst"}}}}, "model.linears.time.proj: .*cannot start at zero"),
        ({"linears": {"mlp": {"fc1": {"kind": "karst", "m": 7}}}}, "model.linears.mlp.fc1: m=7 must divide"),
        ({"linears": {"mlp": {"fc1": {"kind": "lora", "rank": 0}}}}, "mlp.fc1.rank: .*greater than or equal to 1"),
        (
            {"linears": {"mlp": {"fc1": {"kind": "loki"}}}},
            "no kind 'loki'; choose from: bitfit, fact, karst",
        ),
        ({"num_frames": None, "slots": {"time_out": {"kind": "loki", "widths": [4, 4]}}}, "needs model.num_frames"),
    ],
)
def test_illegal_adapters_are_one_clear_line(section, message):
    with pytest.raises(UserError, match=message) as caught:
        build_model(tiny(**section))
    assert "\n" not in str(caught.value)
