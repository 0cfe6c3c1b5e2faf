"""Attention maps: against the softmax written out, and as pictures."""

import pytest
import torch
from conftest import perturb, tiny
from PIL import Image

from videoadapt.builders import build_model
from videoadapt.errors import UserError
from videoadapt.models.attention import Attention, attend, class_token_maps, rollout_maps

ADAPTERS = {"time_out": {"kind": "adapter", "widths": [4]}, "space_out": {"kind": "adapter", "widths": [4]}}
LINEARS = {"space": {"qkv": {"kind": "lora"}}, "time": {"qkv": {"kind": "lora"}}}


def _model(**changes):
    model = build_model(tiny(**changes)).eval()
    perturb(model)
    return model


def _clip(t=4, side=32):
    return torch.randn(1, 3, t, side, side, generator=torch.Generator().manual_seed(3))


def test_the_first_block_looks_where_its_softmax_says():
    model, clip = _model(slots=ADAPTERS, linears=LINEARS, temporal_embedding=False), _clip()
    found = attend(model, clip)
    block, vit = model.backbone.blocks[0], model.backbone
    with torch.no_grad():
        tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(clip[0].transpose(0, 1))))  # (t n d)
        along_time = block.norm1(tokens).transpose(0, 1)  # (n t d)
        expected = []
        for view, x in ((block.time_attn, along_time), (block.attn, None)):
            if x is None:
                after = tokens + block.time_out(block.time_attn(along_time)).transpose(0, 1)
                x = block.norm1(after)
            q, k, _ = view.qkv(x).unflatten(-1, (3, 4, 16)).permute(2, 0, 3, 1, 4)
            expected.append((q @ k.transpose(-1, -2) / 4).softmax(-1))
    torch.testing.assert_close(found.time[0], expected[0].mean((0, 1)), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.space[0], expected[1].mean(1), rtol=0, atol=1e-5)
    torch.testing.assert_close(class_token_maps(found, 0), expected[1].mean(1)[:, 0, 1:].unflatten(1, (4, 4)))


@pytest.mark.parametrize(
    ("changes", "tokens", "times"),
    [
        ({"slots": ADAPTERS}, 17, 2),
        ({"num_frames": None}, 17, 0),
        ({"num_frames": None, "prompt": {"tokens": 3, "deep": True}}, 20, 0),
        ({"slots": {"mlp_side": {"kind": "loki", "widths": [4, 9, 4]}}, "order": "space_first"}, 17, 0),
    ],
)
def test_looking_changes_nothing_and_weights_sum_to_one(changes, tokens, times):
    model, clip = _model(**changes), _clip()
    with torch.no_grad():
        before = model(clip)
    found = attend(model, clip)
    with torch.no_grad():
        assert torch.equal(model(clip), before)
    assert [tuple(weights.shape) for weights in found.space] == [(4, tokens, tokens)] * 2
    assert len(found.time) == times
    for weights in (*found.space, *found.time):
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    maps, rolled = class_token_maps(found), rollout_maps(found)
    assert maps.shape == rolled.shape == (4, 4, 4) and (rolled >= 0).all() and rolled.sum((1, 2)).max() < 1


def test_a_picture_and_another_resolution():
    model = _model(num_frames=None, image_size=64)
    assert class_token_maps(attend(model, torch.randn(1, 3, 64, 64))).shape == (1, 8, 8)


def test_rollout_follows_the_class_token_back():
    """Two tokens and a patch: the class token looks at itself first, then all of it goes through the patch."""
    stay, through = torch.eye(3)[None], torch.tensor([[[0.0, 0.5, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    rolled = rollout_maps(Attention([stay, through], [], 1, (1, 2)))
    torch.testing.assert_close(rolled, torch.tensor([[[0.25, 0.25]]]))
    torch.testing.assert_close(rollout_maps(Attention([through, through], [], 1, (1, 2))).sum(), torch.tensor(0.75))


@pytest.mark.parametrize("backbone", ["swin_base_patch4_window7_224", "vit_base_patch16_siglip_224"])
def test_a_backbone_without_a_class_token_is_an_error(backbone):
    swin = {"embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "img_size": 32, "patch_size": 4, "window_size": 4}
    vit = {"embed_dim": 64, "depth": 1, "num_heads": 4, "patch_size": 8, "img_size": 32}
    model = build_model(tiny(backbone=backbone, backbone_options=swin if "swin" in backbone else vit, num_frames=None))
    with pytest.raises(UserError, match="those of a class token; this backbone has none"):
        attend(model, torch.randn(1, 3, 32, 32))


def test_the_program_draws_videos_and_pictures_by_several_models(demo, tool, tmp_path):
    Image.new("RGB", (80, 80), "red").save(tmp_path / "a.png")
    files = [demo / "data" / "videos" / "val_0002.mp4", tmp_path / "a.png"]
    models = [f"LoKi={demo / 'loki' / 'best.safetensors'}", demo / "head"]
    options = [part for model in models for part in ("--checkpoint", model)]
    sizes = []
    for more in ([], ["--rollout", "--image-size", "96"]):
        out = tmp_path / f"out{len(more)}"
        code, printed, err = tool("attention", *files, *options, "--out", out, *more)
        assert code == 0, err
        names = ["attention.png", "val_0002.attention.png", "val_0002.time.png"]
        assert printed.split() == [str(out / name) for name in names] == sorted(map(str, out.iterdir()))
        sizes.append([Image.open(out / name).size for name in names])
    assert sizes[0] == sizes[1] and sizes[0][1][0] > sizes[0][0][0]  # eight frames are wider than three columns


def test_every_file_gets_its_picture_whatever_it_is_called(demo, tool, tmp_path):
    run = tmp_path / "lr=1e-3"
    run.mkdir()
    (run / "best.safetensors").write_bytes((demo / "head" / "best.safetensors").read_bytes())
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        (folder / "v$1$.mp4").write_bytes((demo / "data" / "videos" / "val_0000.mp4").read_bytes())
        for number in range(11):
            Image.new("RGB", (40, 40), "red").save(folder / f"{number}.png")
    code, _, err = tool("attention", *folders, "--checkpoint", run / "best.safetensors", "--out", tmp_path / "out")
    assert code == 0, err
    names = ["attention.png", "attention_2.png", "v$1$.attention.png", "v$1$_2.attention.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    heights = [Image.open(tmp_path / "out" / name).size[1] for name in names[:2]]
    assert heights[0] > 5 * heights[1]  # twenty lines and two


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--checkpoint [NAME=]FILE says whose attention to draw"),
        (["--checkpoint", "BEST", "--block", "4"], "block 4: vit_mini_patch16_clip_64 has blocks 0 to 3, or -1"),
        (["--checkpoint", "no.safetensors"], "no.safetensors: no such checkpoint"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, demo, tool, tmp_path):
    best = str(demo / "loki" / "best.safetensors")
    video = demo / "data" / "videos" / "val_0000.mp4"
    code, _, err = tool("attention", video, *(best if a == "BEST" else a for a in arguments), "--out", tmp_path)
    assert code == 2 and message in err.splitlines()[-1]
    assert not list(tmp_path.iterdir())
