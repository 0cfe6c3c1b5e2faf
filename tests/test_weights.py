"""Pretrained weights in every form they come in: complete, or one line."""

import time

import numpy as np
import open_clip
import pytest
import timm
import torch
from conftest import TINY, tiny
from make_goldens import fill
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


@pytest.mark.parametrize(
    "change",
    ["missing", "depth", "patch", "layer scale", "no patch bias", "garbage", "int8", "complex64", "V2", "infinity"],
)
def test_a_wrong_npz_is_an_error(change, tmp_path):
    arrays = _to_jax(timm.create_model("vit_base_patch16_224", num_classes=0, **TINY))
    if change == "missing":
        del arrays["Transformer/encoderblock_1/MlpBlock_3/Dense_1/bias"]
    if change in ("int8", "complex64", "V2"):  # V2: two bytes of unknown meaning, as numpy stores JAX's bfloat16
        arrays["embedding/bias"] = np.zeros(64, change)
    if change == "infinity":
        arrays["embedding/bias"][3] = np.inf
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


# --- tags: what the hubs' clients return, without a hub


def test_a_timm_tag_fills_the_backbone(monkeypatch):
    hub = fill(timm.create_model(B16, num_classes=0, **TINY))
    asked, create = [], timm.create_model

    def from_hub(name, pretrained=False, **options):
        asked.append(name)
        return hub if pretrained else create(name, **options)

    monkeypatch.setattr(timm, "create_model", from_hub)
    vit = load_backbone(B16, "openai", options=TINY)
    assert asked[-1] == f"{B16}.openai"
    assert fingerprint(vit) == fingerprint(hub)


def test_an_open_clip_tag_fills_the_backbone(open_clip_file, monkeypatch):
    path, images, expected = open_clip_file
    asked = []
    monkeypatch.setattr(open_clip, "download_pretrained", lambda source: asked.append(source) or str(path))
    vit = load_backbone(B16, "open_clip:openai", num_classes=512).eval()
    assert asked[0] == open_clip.get_pretrained_cfg("ViT-B-16-quickgelu", "openai")
    with torch.no_grad():
        torch.testing.assert_close(vit(images), expected, rtol=0, atol=1e-4)
