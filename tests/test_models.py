"""The block and the classifier against AIM, open_clip and timm."""

import numpy as np
import pytest
import torch
from conftest import GOLDEN, TINY, perturb, tiny

from videoadapt.builders import build_model
from videoadapt.errors import UserError
from videoadapt.layout import Layout
from videoadapt.models.aim import load_aim
from videoadapt.models.backbone import load_backbone

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
        torch.testing.assert_close(model(clips), model(clips.flip(2)), rtol=0, atol=1e-5)


def test_uint8_pixels_are_normalised_inside(loki):
    pixels = torch.randint(0, 256, (1, 3, 4, 32, 32), dtype=torch.uint8)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(loki(pixels), loki((pixels / 255 - mean) / std), rtol=0, atol=1e-5)


def test_another_number_of_frames_interpolates_the_temporal_embedding(loki):
    ramp = torch.arange(4.0)[:, None, None]
    fitted = build_model(tiny(num_frames=8)).fitted({"temporal_embedding": ramp})["temporal_embedding"]
    assert fitted.flatten().tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    assert torch.equal(loki.fitted({"temporal_embedding": ramp})["temporal_embedding"], ramp)
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


def test_drop_path_drops_whole_clips_where_nothing_looks_along_time():
    sections = ({"slots": {"mlp_side": ADAPTER}}, {"drop_path_on": "branches"})
    for section in sections:
        model = build_model(tiny(temporal_embedding=False, drop_path=0.5, **section)).train()
        perturb(model)
        clips = torch.randn(4, 3, 1, 32, 32).expand(-1, -1, 4, -1, -1)  # four times the same frame
        features = model.forward_features(clips)
        torch.testing.assert_close(features, features[:, :1].expand_as(features))


def test_only_what_looks_along_time_mixes_frames():
    kinds = {"convpass": False, "st_adapter": True, "loki": False}
    for kind, mixes in kinds.items():
        spec = {"kind": kind, **({"widths": [4, 9, 4]} if kind == "loki" else {})}
        model = build_model(tiny(temporal_embedding=False, slots={"mlp_side": spec})).eval()
        perturb(model)
        clips = torch.randn(1, 3, 4, 32, 32)
        other = torch.cat([clips[:, :, :1], torch.randn(1, 3, 3, 32, 32)], dim=2)
        with torch.no_grad():
            first, again = model.forward_features(clips)[:, 0], model.forward_features(other)[:, 0]
        assert torch.allclose(first, again, atol=1e-6) is not mixes
        assert (model.embed(clips[:, :, 0]).ndim == 3) is mixes  # tokens, or features already


def test_drop_path_on_branches_drops_a_clip_in_every_branch():
    spec = {"kind": "adapter", "widths": [4]}
    model = build_model(tiny(slots={"time_out": spec, "mlp_side": spec}, drop_path=0.5, drop_path_on="branches"))
    perturb(model)
    block = model.backbone.blocks[-1].train()
    tokens, layout = torch.randn(200 * 4, 17, 64), Layout(4, 1, 4, 4)
    with torch.no_grad():
        unchanged = (block(tokens, layout) == tokens).flatten(1).all(1).view(200, 4)
    assert (unchanged.all(1) == unchanged.any(1)).all()
    assert 5 < unchanged.all(1).sum() < 60  # an eighth of the clips skips all three branches


def test_without_the_space_residual_only_the_adapter_speaks():
    spec = {"kind": "adapter", "widths": [4]}
    model = build_model(tiny(num_frames=None, slots={"space_out": spec}, space_residual=False)).eval()
    perturb(model)
    block, x = model.backbone.blocks[0], torch.randn(2, 17, 64)
    with torch.no_grad():
        a = block.attn(block.norm1(x))
        expected = x + block.space_out(a)
        expected = expected + block.mlp(block.norm2(expected))
        torch.testing.assert_close(block(x, Layout(1, 1, 4, 4)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("norm", {"norm.weight", "norm.bias"}),
        ("norms", {f"{n}.{p}" for n in ("norm", "norm_pre", "norm1", "norm2") for p in ("weight", "bias")}),
        ("bias", {f"{n}.bias" for n in ("norm", "norm_pre", "norm1", "norm2", "qkv", "proj", "fc1", "fc2")}),
    ],
)
def test_unfreezing_by_word(word, names):
    backbone = build_model(tiny(unfreeze=[word])).backbone
    trained = {".".join(name.split(".")[-2:]) for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == names


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"slots": {"time_out": {"kind": "st_adapter"}}}, "time_out: st_adapter works on the patches of frames"),
        ({"slots": {"time_out": {"kind": "convpass"}}}, "time_out: convpass works on the patches of frames"),
        ({"slots": {"space_in": {"kind": "st_adapter", "kernel": 2}}}, "space_in: kernel=2 must be odd"),
        ({"slots": {"space_in": {"kind": "lora"}}}, "no kind 'lora'; choose from: adapter, adaptformer"),
        ({"linears": {"time": {"proj": {"kind": "bitfit"}}}}, "proj: bitfit cannot start the time branch at zero"),
        ({"linears": {"time": {"proj": {"kind": "fact"}}}}, "time.proj: .*cannot start at zero"),
        ({"linears": {"space": {"proj": {"kind": "fact", "zero_start": True}}}}, "unknown key 'zero_start'"),
        ({"drop_path": 0.1}, "model.drop_path: no adapter branch to drop; set model.drop_path_on=branches"),
        ({"space_residual": False}, "model.space_residual: false needs an adapter in model.slots.space_out"),
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
