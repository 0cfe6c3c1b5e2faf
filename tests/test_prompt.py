"""Prompt tokens, the one method that is neither a slot nor a tuner."""

import pytest
import torch
from conftest import perturb, tiny

from videoadapt.adapters import Prompt
from videoadapt.builders import build_model
from videoadapt.engine.checkpoint import load_trainable, trainable_tensors
from videoadapt.errors import UserError


def test_shallow_prompts_enter_once_behind_the_prefix():
    prompt, x = Prompt(6, 3, 8, tokens=2), torch.randn(4, 10, 6)
    y = prompt(x, 1, 0)
    assert torch.equal(y[:, :1], x[:, :1]) and torch.equal(y[:, 3:], x[:, 1:])
    assert torch.equal(y[:, 1:3], prompt.tokens[0].expand(4, 2, 6))
    assert prompt(y, 1, 1) is y
    assert torch.equal(prompt.removed(y, 1), x)


def test_deep_prompts_replace_those_of_the_block_before():
    prompt, x = Prompt(6, 3, 8, tokens=2, deep=True), torch.randn(4, 10, 6)
    y = prompt(prompt(x, 5, 0) + 1, 5, 1)
    assert torch.equal(y[:, :5], x[:, :5] + 1) and torch.equal(y[:, 7:], x[:, 5:] + 1)
    assert torch.equal(y[:, 5:7], prompt.tokens[1].expand(4, 2, 6))


def test_prompts_start_as_in_the_paper():
    tokens = Prompt(768, 12, 16, tokens=200).tokens
    bound = (6 / (3 * 16**2 + 768)) ** 0.5
    assert tokens.shape == (1, 200, 768) and 0.99 * bound < tokens.abs().max() <= bound


def test_a_prompt_is_read_by_attention_alone():
    """Against the frozen blocks run by hand on [class, prompts, patches]."""
    model = build_model(tiny(num_frames=None, prompt={"tokens": 3})).eval()
    vit, images = model.backbone, torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        x = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
        x = torch.cat([x[:, :1], model.prompt.tokens.expand(2, -1, -1), x[:, 1:]], 1)
        for block in vit.blocks:
            x = x + block.attn(block.norm1(x))
            x = x + block.mlp(block.norm2(x))
        torch.testing.assert_close(model.forward_features(images)[:, 0], vit.norm(x)[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("pool", ["token", "avg"])
def test_prompts_mix_with_everything_and_travel_in_checkpoints(deep, pool):
    options = {**tiny().backbone_options, "global_pool": pool, "fc_norm": False}
    loki = {"kind": "loki", "widths": [4, 9, 4]}
    section = tiny(
        backbone_options=options,
        prompt={"tokens": 3, "deep": deep, "dropout": 0.1},
        slots={"time_out": loki, "space_in": {"kind": "st_adapter", "width": 4}, "mlp_side": {"kind": "convpass"}},
        linears={"space": {"qkv": {"kind": "lora"}}},
    )
    model, clips = build_model(section), torch.randn(2, 3, 4, 32, 32)
    perturb(model)
    model(clips).sum().backward()
    assert model.prompt.tokens.grad.abs().sum((1, 2)).gt(0).all()
    again = build_model(section).eval()
    load_trainable(again, trainable_tensors(model), "memory")
    with torch.no_grad():
        assert torch.equal(again(clips), model.eval()(clips))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"token": 3}, "model.prompt: unknown key 'token'; did you mean 'tokens'"),
        ({"tokens": 0}, "model.prompt.tokens: .*greater than or equal to 1"),
        ({"tokens": 2, "deep": 1}, "model.prompt.deep: .*valid boolean"),
    ],
)
def test_a_wrong_prompt_is_one_line(prompt, message):
    with pytest.raises(UserError, match=message):
        build_model(tiny(prompt=prompt))
