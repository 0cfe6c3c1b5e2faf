"""Pretrained weights in every form they come in, and the backbones they go into."""

import time

import numpy as np
import open_clip
import pytest
import timm
import torch
from conftest import GOLDEN, TINY, tiny
from make_goldens import TIMM_MODELS, TIMM_SIZES, fill
from safetensors.torch import load_file, save_file

from videoadapt.builders import build_model
from videoadapt.errors import UserError
from videoadapt.models.backbone import MINI, MINI_WEIGHTS, input_spec, load_backbone
from videoadapt.models.pretrained import fingerprint

B16 = "vit_base_patch16_clip_quickgelu_224"


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


# --- other forms of files


def test_an_openai_file_is_torchscript(open_clip_file, tmp_path):
    """OpenAI's .pt is a scripted model in half precision; its state dict has a few numbers of its own."""
    tower = open_clip.CLIP(
        embed_dim=32,
        vision_cfg={"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8},
        text_cfg={"width": 32, "heads": 2, "layers": 1},
        quick_gelu=True,
    ).half()
    tower.register_buffer("input_resolution", torch.tensor(32))
    torch.jit.script(tower).save(str(tmp_path / "ViT-B-16.pt"))
    vit = load_backbone(B16, str(tmp_path / "ViT-B-16.pt"), options=TINY, num_classes=32).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(vit(images), tower.float().eval().encode_image(images), rtol=0, atol=1e-5)


def _to_jax(vit: torch.nn.Module) -> dict[str, np.ndarray]:
    """A timm ViT as the JAX authors store it: kernels transposed, q, k and v apart and split by heads."""
    state = {key: value.numpy() for key, value in vit.state_dict().items()}
    heads, width = vit.blocks[0].attn.num_heads, vit.embed_dim
    arrays = {
        "cls": state["cls_token"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
    }
    for i in range(len(vit.blocks)):
        ours, theirs = f"blocks.{i}.", f"Transformer/encoderblock_{i}/"
        attention = theirs + "MultiHeadDotProductAttention_1/"
        for number, name in enumerate(("query", "key", "value")):
            rows = slice(number * width, (number + 1) * width)
            arrays[f"{attention}{name}/kernel"] = state[ours + "attn.qkv.weight"][rows].T.reshape(width, heads, -1)
            arrays[f"{attention}{name}/bias"] = state[ours + "attn.qkv.bias"][rows].reshape(heads, -1)
        arrays[attention + "out/kernel"] = state[ours + "attn.proj.weight"].T.reshape(heads, -1, width)
        arrays[attention + "out/bias"] = state[ours + "attn.proj.bias"]
        for number, name in ((0, "norm1"), (2, "norm2")):
            arrays[f"{theirs}LayerNorm_{number}/scale"] = state[f"{ours}{name}.weight"]
            arrays[f"{theirs}LayerNorm_{number}/bias"] = state[f"{ours}{name}.bias"]
        for number, name in enumerate(("fc1", "fc2")):
            arrays[f"{theirs}MlpBlock_3/Dense_{number}/kernel"] = state[f"{ours}mlp.{name}.weight"].T
            arrays[f"{theirs}MlpBlock_3/Dense_{number}/bias"] = state[f"{ours}mlp.{name}.bias"]
    return arrays


def test_the_original_npz_fills_the_vit(tmp_path):
    vit = fill(timm.create_model("vit_base_patch16_224", num_classes=0, **TINY))
    np.savez(tmp_path / "ViT-B_16.npz", **_to_jax(vit))
    again = load_backbone("vit_base_patch16_224", str(tmp_path / "ViT-B_16.npz"), options=TINY)
    assert all(torch.equal(value, vit.state_dict()[key]) for key, value in again.state_dict().items())
    larger = load_backbone("vit_base_patch16_224", str(tmp_path / "ViT-B_16.npz"), options=TINY, image_size=48)
    assert larger.pos_embed.shape == (1, 37, 64)


@pytest.mark.parametrize("change", ["missing", "depth", "patch", "layer scale", "no patch bias", "garbage"])
def test_a_wrong_npz_is_an_error(change, tmp_path):
    arrays = _to_jax(timm.create_model("vit_base_patch16_224", num_classes=0, **TINY))
    if change == "missing":
        del arrays["Transformer/encoderblock_1/MlpBlock_3/Dense_1/bias"]
    options = {**TINY, **{"depth": {"depth": 1}, "patch": {"patch_size": 16}}.get(change, {})}
    name = {"layer scale": "vit_base_patch14_dinov2", "no patch bias": B16}.get(change, "vit_base_patch16_224")
    np.savez(tmp_path / "w.npz", **arrays)
    if change == "garbage":
        (tmp_path / "w.npz").write_bytes(b"garbage")
    with pytest.raises(UserError, match="w.npz: not the .npz weights of this backbone"):
        load_backbone(name, str(tmp_path / "w.npz"), options=options)


def test_numpy_numbers_in_a_checkpoint_are_no_obstacle(tmp_path):
    """mmcv keeps the best score of a run so."""
    state = timm.create_model(B16, **TINY).state_dict()
    torch.save({"meta": {"hook_msgs": {"best_score": np.float64(83.9)}}, "state_dict": state}, tmp_path / "w.pth")
    load_backbone(B16, str(tmp_path / "w.pth"), options=TINY)


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 0},
        {"num_heads": 0},
        {"act_layer": "foo"},
        {"norm_layer": "foo"},
        {"mlp_ratio": -1},
        {"img_size": 4},
        {"img_size": [32, 48]},
        {"drop_path_rate": 0.1},
        {"patch_drop_rate": 0.1},
    ],
)
def test_options_that_make_no_backbone_are_one_line(options):
    with pytest.raises(UserError, match="model.backbone_options"):
        load_backbone(B16, "none", options={**TINY, **options})


# --- pixels


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
