"""In from AIM and CLIP, out to timm and open_clip: nothing is lost on the way."""

import numpy as np
import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
import yaml
from conftest import CLIP_B16 as B16
from conftest import GOLDEN, TINY, perturb, tiny
from make_goldens import CLIP_SIZES, fill
from safetensors.torch import load_file
from torch import nn

import videoadapt
from videoadapt.adapters.attach import merge_linears
from videoadapt.builders import build_model
from videoadapt.engine.checkpoint import read_checkpoint, save_checkpoint, trainable_tensors
from videoadapt.errors import UserError
from videoadapt.models.aim import load_aim
from videoadapt.models.export import open_clip_state, timm_state

KINDS = {"lora": {"rank": 2}, "karst": {"m": 4, "rst": "channel"}, "fact": {"rank": 4, "rst": "scalar"}}
KINDS |= {"ssf": {}, "bitfit": {}}


def _everywhere(kind: str) -> dict:
    spec = {"kind": kind, **KINDS[kind]}
    return {"space": {"qkv": spec, "proj": spec}, "mlp": {"fc1": spec, "fc2": spec}}


# --- AIM


@pytest.fixture(scope="module")
def aim_state():
    """AIM's own state dict (width 64, 3 blocks), with a head as its checkpoints have."""
    golden = np.load(GOLDEN / "aim_small.npz")
    tower = {f"backbone.{key[2:]}": torch.from_numpy(golden[key]) for key in golden.files if key.startswith("w:")}
    return {**tower, "cls_head.fc_cls.weight": torch.randn(5, 64), "cls_head.fc_cls.bias": torch.randn(5)}


class AimBlock(nn.Module):
    """AIM's block with ``num_tadapter: 2`` in the words of its paper, on torch's own attention; tokens (n bt d)."""

    def __init__(self, width: int, heads: int, bottleneck: int, scale: float) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        for name in ("T_Adapter_in", "T_Adapter", "S_Adapter", "MLP_Adapter"):
            fcs = {"D_fc1": nn.Linear(width, bottleneck), "D_fc2": nn.Linear(bottleneck, width)}
            setattr(self, name, nn.ModuleDict(fcs))
        self.scale = scale

    def forward(self, x, t):
        down_up = lambda a, y: a["D_fc2"](F.gelu(a["D_fc1"](y)))  # noqa: E731
        attend = lambda y: self.attn(y, y, y, need_weights=False)[0]  # noqa: E731
        n, bt, d = x.shape
        xt = self.ln_1(x).reshape(n, bt // t, t, d).permute(2, 1, 0, 3).reshape(t, -1, d)
        xt = down_up(self.T_Adapter, attend(xt + down_up(self.T_Adapter_in, xt)))
        x = x + xt.reshape(t, bt // t, n, d).permute(2, 1, 0, 3).reshape(n, bt, d)
        a = attend(self.ln_1(x))
        x = x + a + down_up(self.S_Adapter, a)
        z = self.ln_2(x)
        y = self.mlp["c_fc"](z)
        return x + self.mlp["c_proj"](y * torch.sigmoid(1.702 * y)) + self.scale * down_up(self.MLP_Adapter, z)


def test_two_temporal_adapters_as_in_aims_ssv2_recipe():
    adapter = {"kind": "adapter", "widths": [16]}
    slots = {"time_in": adapter, "time_out": adapter, "space_out": adapter, "mlp_side": {**adapter, "scale": 1.0}}
    model = build_model(tiny(slots=slots, num_classes=None, backbone_options={**TINY, "depth": 1})).eval()
    block = fill(AimBlock(64, 4, 16, 1.0))
    state = {f"transformer.resblocks.0.{key}": value for key, value in block.state_dict().items()}
    shell = model.backbone.state_dict()
    names = {
        "class_embedding": "cls_token",
        "positional_embedding": "pos_embed",
        "conv1.weight": "patch_embed.proj.weight",
    }
    names |= {f"ln_{a}.{p}": f"norm{b}.{p}" for a, b in (("pre", "_pre"), ("post", "")) for p in ("weight", "bias")}
    state |= {theirs: shell[ours] for theirs, ours in names.items()}
    load_aim(model, {**state, "temporal_embedding": torch.zeros(1, 4, 64)})
    tokens = torch.randn(8, 17, 64)
    layout = videoadapt.layout.Layout(4, 1, 4, 4)
    with torch.no_grad():
        ours = model.backbone.blocks[0](tokens, layout)
        torch.testing.assert_close(ours, block(tokens.transpose(0, 1), 4).transpose(0, 1), rtol=0, atol=1e-5)


@pytest.fixture
def aim_config(tmp_path):
    adapter = {"kind": "adapter", "widths": [16]}
    slots = {"time_out": adapter, "space_out": adapter, "mlp_side": {**adapter, "scale": 0.5}}
    model = {"backbone": B16, "pretrained": "none", "backbone_options": {**TINY, "depth": 3}, "num_frames": 4}
    config = {"model": {**model, "slots": slots, "unfreeze": ["norm"]}, "data": {"num_classes": 5}}
    (tmp_path / "aim.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "aim.yaml"


def test_aims_checkpoint_is_imported_without_loss(aim_state, aim_config, tool, tmp_path):
    torch.save({"meta": {"epoch": 30}, "state_dict": aim_state}, tmp_path / "aim.pth")
    code, out, err = tool("import-aim", aim_config, tmp_path / "aim.pth", "--out", tmp_path / "in", "--keep-backbone")
    assert code == 0, err
    assert "parameters that AIM trained" in out
    golden = np.load(GOLDEN / "aim_small.npz")
    model = videoadapt.load_checkpoint(tmp_path / "in" / "aim.safetensors")
    with torch.no_grad():
        features = model.forward_features(torch.from_numpy(golden["x"]))
    torch.testing.assert_close(features.transpose(1, 2), torch.from_numpy(golden["y"]), rtol=0, atol=1e-5)
    tensors, _ = read_checkpoint(tmp_path / "in" / "aim.safetensors")
    stored = sum(t.numel() for t in tensors.values()) + sum(
        t.numel() for n, t in load_file(tmp_path / "in" / "backbone.safetensors").items() if not n.startswith("norm.")
    )
    assert stored == sum(value.numel() for value in aim_state.values())  # every number of the file, once


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda state: state, [], "is not that of the backbone"),
        (
            lambda state: {k: v for k, v in state.items() if "S_Adapter" not in k},
            ["--keep-backbone"],
            "model differ in",
        ),
        (
            lambda state: {**state, "cls_head.fc_cls.bias": torch.ones(9)},
            ["--keep-backbone"],
            "head.bias has shape (9,)",
        ),
        (None, [], "no such checkpoint of AIM's"),
    ],
)
def test_what_cannot_be_imported_is_one_line(change, arguments, message, aim_state, aim_config, tool, tmp_path):
    if change:
        torch.save({"state_dict": change(aim_state)}, tmp_path / "aim.pth")
    code, _, err = tool("import-aim", aim_config, tmp_path / "aim.pth", "--out", tmp_path / "in", *arguments)
    assert code == 2 and err.count("\n") == 1 and message in err
    assert not list((tmp_path / "in").glob("*"))


# --- out to timm and open_clip


@pytest.mark.parametrize("backbone", [B16, "vit_base_patch16_224", "swin_base_patch4_window7_224"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_is_stock_timm(kind, backbone):
    swin = {"embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "img_size": 32, "patch_size": 4, "window_size": 4}
    options = swin if "swin" in backbone else TINY
    config = tiny(
        backbone=backbone, backbone_options=options, num_frames=None, linears=_everywhere(kind), unfreeze=["norm"]
    )
    model, images = build_model(config).eval(), torch.randn(3, 3, 32, 32)
    perturb(model)
    stock = timm.create_model(backbone, num_classes=5, **options).eval()
    with torch.no_grad():
        expected = model(images)
        stock.load_state_dict(timm_state(merge_linears(model)), strict=True)
        torch.testing.assert_close(stock(images), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_tower_goes_back_into_open_clip(kind):
    clip = fill(open_clip.CLIP(**CLIP_SIZES)).eval()
    model = build_model(tiny(num_frames=None, linears=_everywhere(kind))).eval()
    stock = timm.create_model(B16, num_classes=0, **TINY)
    stock.load_state_dict(timm.models.vision_transformer.checkpoint_filter_fn(clip.state_dict(), stock), strict=False)
    images = torch.randn(2, 3, 32, 32)
    perturb(model)
    again = open_clip.CLIP(**CLIP_SIZES).eval()
    with torch.no_grad():
        expected = model.forward_features(images)[:, 0] @ clip.visual.proj
        again.load_state_dict(open_clip_state(merge_linears(model), clip.state_dict()), strict=True)
        torch.testing.assert_close(again.encode_image(images), expected, rtol=0, atol=1e-5)
        text = torch.randint(1, 49_000, (2, 77))
        assert torch.equal(again.encode_text(text), clip.encode_text(text))


def test_what_openai_keeps_beside_its_weights_is_left_out():
    clip = fill(open_clip.CLIP(**CLIP_SIZES))
    original = {key: value.half() for key, value in clip.state_dict().items()}
    original |= {"input_resolution": torch.tensor(32), "attn_mask": torch.zeros(77, 77)}
    state = open_clip_state(build_model(tiny(num_frames=None)), original)
    open_clip.CLIP(**CLIP_SIZES).load_state_dict(state, strict=True)
    assert {value.dtype for value in state.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"num_frames": 4}, "no place for the temporal embedding"),
        ({"num_frames": None, "prompt": {"tokens": 2}}, "no place for the prompt"),
        ({"num_frames": None, "slots": {"mlp_side": {"kind": "kan", "widths": [2]}}}, "the adapter in mlp_side"),
        ({"temporal_embedding": False, "linears": {"time": {"proj": {"kind": "ssf"}}}}, "the time branch"),
    ],
)
def test_what_timm_has_no_place_for_is_not_exported(section, message):
    with pytest.raises(UserError, match=message):
        timm_state(merge_linears(build_model(tiny(**section))))


@pytest.mark.parametrize(("form", "suffix"), [("timm", "safetensors"), ("timm", "pt"), ("open_clip", "bin")])
def test_the_export_program_writes_what_the_libraries_load(form, suffix, small_clip, tool, tmp_path):
    section = tiny(pretrained=str(small_clip), num_frames=None, linears=_everywhere("karst"))
    model, images = build_model(section).eval(), torch.randn(2, 3, 32, 32)
    perturb(model)
    config = {"model": section.model_dump(), "data": {"num_classes": 5}}
    about = {"config": config, "classes": list("abcde"), "fingerprint": model.fingerprint}
    save_checkpoint(tmp_path / "c.safetensors", trainable_tensors(model), about)
    out = tmp_path / f"merged.{suffix}"
    code, printed, err = tool("export", tmp_path / "c.safetensors", "--out", out, "--format", form)
    assert code == 0, err
    assert f"{out}: " in printed
    with torch.no_grad():
        if form == "timm":
            stock = timm.create_model(B16, num_classes=5, checkpoint_path=str(out), **TINY).eval()
            torch.testing.assert_close(stock(images), model(images), rtol=0, atol=1e-5)
        else:
            clip = open_clip.create_model("small-clip", pretrained=str(out)).eval()
            expected = model.forward_features(images)[:, 0] @ clip.visual.proj
            torch.testing.assert_close(clip.encode_image(images), expected, rtol=0, atol=1e-5)
