"""What is kept for the backward pass, that it may be computed again instead, and that compilers take it all."""

import pytest
import torch
from conftest import TINY, perturb, tiny
from test_adapters import CASES
from torch import nn

from videoadapt.adapters import SLOTS
from videoadapt.adapters.slots.adapter import Adapter
from videoadapt.adapters.slots.adaptformer import AdaptFormer
from videoadapt.adapters.slots.loki import LoKi
from videoadapt.benchmarks.peers import Aim, composed_loki
from videoadapt.builders import build_model
from videoadapt.engine.cost import kept_bytes, packed_bytes, saved_bytes
from videoadapt.errors import UserError
from videoadapt.layout import Origin
from videoadapt.models.backbone import load_backbone, set_checkpointing
from videoadapt.models.quick_gelu import QuickGelu

TOKENS, WIDTH = 512, 768
ADAPTER, LOKI, SMALL = Adapter(WIDTH, widths=[192]), LoKi(WIDTH, widths=[48, 97, 48]), LoKi(WIDTH, widths=[16, 33, 16])


def _kept(module):
    """Bytes a token, the input included."""
    return kept_bytes(lambda: module(torch.randn(TOKENS, WIDTH).requires_grad_() * 1).sum()) / TOKENS - 4 * WIDTH


@pytest.mark.parametrize(
    ("floats", "module"), [(768 + 2 * 192, ADAPTER), (768 + 48 + 97 + 48, LOKI), (768 + 16 + 33 + 16, SMALL)]
)
def test_a_bottleneck_keeps_its_input_and_its_vectors_and_nothing_else(floats, module):
    assert _kept(module) == pytest.approx(4 * floats, abs=16)


def test_loki_keeps_less_than_an_adapter_and_a_tenth_of_a_composition():
    assert _kept(LOKI) <= 0.85 * _kept(ADAPTER) and _kept(SMALL) <= 0.75 * _kept(ADAPTER)
    assert _kept(composed_loki(WIDTH, [48, 97, 48])) >= 10 * _kept(LOKI)


def test_both_ways_to_count_agree():
    x = torch.randn(TOKENS, WIDTH, requires_grad=True)
    assert packed_bytes(lambda: ADAPTER(x * 1).sum(), ADAPTER) == TOKENS * _kept(ADAPTER)


def _section(kind, **options):
    return {"slots": {slot: {"kind": kind, **options} for slot in ("time_out", "space_out", "mlp_side")}}


def test_the_block_keeps_what_it_must():
    """In widths of D a token, and block by block: 5 for each attention, 1 for the second norm, 4 inside the MLP."""
    clips = torch.randn(1, 3, 4, 32, 32)
    sizes = {"adapter": {"widths": [16]}, "loki": {"widths": [12, 24, 12]}}
    bottleneck = {"adapter": 2 * 16 / 64, "loki": (12 + 24 + 12) / 64}
    for kind, options in sizes.items():
        shallow, deep = (
            saved_bytes(
                build_model(tiny(backbone_options={**TINY, "depth": depth}, **_section(kind, **options))), clips
            )
            for depth in (2, 4)
        )
        widths = (deep - shallow) / 2 / (4 * 17 * 64 * 4)
        # inputs of time_out and space_out; mlp_side reads what the norm keeps anyway. Then statistics, a few floats.
        assert widths == pytest.approx(2 * 5 + 1 + 4 + 2 + 3 * bottleneck[kind], abs=0.35)


def test_it_is_less_than_aims_own_block_keeps():
    aim = Aim(dim=64, depth=2, heads=4, patch=8, size=32, frames=4, width=16)
    clips = torch.randn(1, 3, 4, 32, 32)
    ours = build_model(tiny(**_section("adapter", widths=[16])))
    assert saved_bytes(ours, clips) <= 0.83 * saved_bytes(aim, clips)
    set_checkpointing(ours.backbone, "mlp")
    assert saved_bytes(ours, clips) <= 0.70 * saved_bytes(aim, clips)
    set_checkpointing(ours.backbone, "block")
    assert saved_bytes(ours, clips) <= 0.25 * saved_bytes(aim, clips)


def test_quick_gelu_is_clips():
    x = torch.randn(50, dtype=torch.float64, requires_grad=True)
    y = QuickGelu()(x * 1)
    torch.testing.assert_close(y, x * torch.sigmoid(1.702 * x))
    assert torch.autograd.gradcheck(lambda x: QuickGelu()(x * 1), x)
    large = torch.tensor([-4e4, 4e4, 5e2], dtype=torch.float16, requires_grad=True)
    QuickGelu()(large).sum().backward()
    assert large.grad.tolist() == [0, 1, 1]
    vit = build_model(tiny()).backbone
    assert all(type(block.mlp.act) is QuickGelu for block in vit.blocks)


@pytest.mark.parametrize("kind", [Adapter, LoKi, AdaptFormer])
def test_gradients_are_the_same_when_the_norm_keeps_the_input(kind):
    module = kind(24, **({"width": 8} if kind is AdaptFormer else {"widths": [8, 9, 8]}), scale=0.7).double()
    perturb(module)
    norm = nn.LayerNorm(24).double().requires_grad_(False)
    norm.weight.copy_(torch.rand(24))
    x = torch.randn(3, 5, 24, dtype=torch.float64, requires_grad=True)
    results = []
    for origin in (None, Origin(norm, x)):
        y = module(norm(x), origin)
        results.append((y, *torch.autograd.grad(y.square().sum(), (x, *module.parameters()))))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["mlp", "block"])
@pytest.mark.parametrize("section", CASES[::7])
def test_what_is_computed_again_gives_the_same_gradients(section, mode):
    clips, labels = torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 3])
    results = []
    for chosen in ("none", mode):
        torch.manual_seed(2)
        model = build_model(tiny(**section))
        perturb(model)
        set_checkpointing(model.backbone, chosen)
        torch.manual_seed(3)  # of dropout: the second computation draws as the first
        loss = nn.functional.cross_entropy(model(clips), labels)
        loss.backward()
        results.append((loss.detach(), [p.grad for p in model.parameters() if p.requires_grad]))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], rtol=0, atol=1e-6)


def test_a_hierarchical_backbone_takes_block_alone():
    swin = load_backbone("swin_tiny_patch4_window7_224", "none", options={"depths": (1, 1), "embed_dim": 24})
    set_checkpointing(swin, "block")
    assert all(stage.grad_checkpointing for stage in swin.layers)
    set_checkpointing(swin, "none")
    assert not any(stage.grad_checkpointing for stage in swin.layers)
    with pytest.raises(UserError, match="activation_checkpointing: mlp is for ViTs"):
        set_checkpointing(swin, "mlp")


@pytest.mark.parametrize("section", {case.id[:5]: case for case in CASES}.values())  # one of each kind
def test_a_model_is_one_graph_for_the_compiler(section):
    model = build_model(tiny(backbone_options={**TINY, "depth": 1}, **section)).eval()
    perturb(model)
    clips = torch.randn(1, 3, 4, 32, 32)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    plain, graph = model(clips), compiled(clips)
    torch.testing.assert_close(graph, plain, rtol=1e-4, atol=1e-4)
    trainable = [p for p in model.parameters() if p.requires_grad]
    expected, found = (torch.autograd.grad(y.square().sum(), trainable) for y in (plain, graph))
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("kind", SLOTS)
def test_the_head_and_its_loss_are_fp32_under_autocast(kind):
    options = {"kan": {"widths": [4]}, "adapter": {"widths": [8]}, "loki": {"widths": [4, 9, 4]}}.get(kind, {})
    model = build_model(tiny(slots={"mlp_side": {"kind": kind, **options}}))
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.randn(1, 3, 4, 32, 32)).dtype == torch.float32
