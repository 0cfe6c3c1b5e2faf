"""Tuned linears in one step of autograd: they compute what the plain operations do, and keep what they must."""

import pytest
import torch
from conftest import TINY, perturb, tiny
from test_adapters import TUNER_OPTIONS
from torch import nn

from videoadapt.adapters import TUNERS
from videoadapt.adapters.tuners.factored import Factors, factored
from videoadapt.adapters.tuners.rescale import rescaled
from videoadapt.builders import build_model
from videoadapt.engine.cost import kept_bytes, saved_bytes
from videoadapt.layout import made, origin_of
from videoadapt.models.backbone import set_checkpointing
from videoadapt.models.quick_gelu import Gelu, QuickGelu

DOUBLE = {"dtype": torch.float64}


def _everywhere(**spec):
    start = {"rst": "channel"} if spec["kind"] == "fact" else {}
    view = {"qkv": spec, "proj": {**spec, **start}}
    return {"linears": {"time": view, "space": view, "mlp": {"fc1": spec, "fc2": spec}}}


@pytest.fixture
def plain(monkeypatch):
    """From the call on, tuners compute as they do for a compiler, and no origin is remembered."""
    return lambda: monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)


CASES = [(kind, options) for kind, variants in TUNER_OPTIONS.items() for options in variants]
CASES += [("lora", {"rank": 3, "dropout": 0.2}), ("karst", {"m": 4, "rank": 3, "kernels": 3, "rst": "channel"})]


@pytest.mark.parametrize("outputs", [24, 72, 96])
@pytest.mark.parametrize(("kind", "options"), CASES)
@pytest.mark.parametrize("learns", [False, True])
def test_a_tuner_is_its_plain_form(kind, options, outputs, learns, plain):
    tuner = TUNERS[kind](nn.Linear(24, outputs).requires_grad_(learns), **options).double()
    perturb(tuner)
    norm = nn.LayerNorm(24, **DOUBLE)
    source = torch.randn(3, 5, 24, **DOUBLE, requires_grad=True)
    results = []
    for prepare in (lambda: None, plain):
        prepare()
        torch.manual_seed(0)  # of dropout
        y = tuner(made(norm, source))
        learning = [p for p in (*tuner.parameters(), *norm.parameters()) if p.requires_grad]
        results.append((y.detach(), *torch.autograd.grad(y.transpose(0, 1).sin().sum(), (source, *learning))))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("u", "s", "v", "noise"),
    [
        ((3, 2), (4, 6), (2, 3, 2), None),  # two blocks of inputs, two parts of two blocks of outputs
        ((6, 2), None, (1, 2, 8), None),
        ((6, 2), (2, 4), (1, 2, 4), (5, 4)),
    ],
)
def test_gradients_of_factors(u, s, v, noise):
    base = nn.Linear(6, 8, **DOUBLE)
    x, *factors = (None if shape is None else torch.randn(shape, **DOUBLE) for shape in ((5, 6), u, s, v, noise))
    inputs = [tensor.requires_grad_() for tensor in (x, *factors[:3]) if tensor is not None]

    def update(x, *given):
        given = iter(given)
        learning = (None if factor is None else next(given) for factor in factors[:3])
        return factored(made(torch.tanh, x * 1), base, Factors(*learning, factors[3]))

    assert torch.autograd.gradcheck(update, inputs)


@pytest.mark.parametrize("size", [6, 1])
def test_gradients_of_a_rescaled_activation(size):
    """The activation keeps y, which is kept for the gain anyway, and makes its own input and its output again."""
    y, *both = (torch.randn(shape, **DOUBLE, requires_grad=True) for shape in ((4, 6), (size,), (size,)))
    assert torch.autograd.gradcheck(lambda y, *both: QuickGelu()(rescaled(y * 1, *both)), (y, *both))
    made_again = origin_of(activated := QuickGelu()(rescaled(y * 1, *both)))
    with torch.no_grad():
        assert torch.equal(made_again.make(made_again.source), activated)
    assert torch.equal(made_again.source, y)


def test_an_origin_is_forgotten_by_what_changes_a_tensor():
    source = torch.randn(2, 6, requires_grad=True)
    x = made(nn.LayerNorm(6), source)
    assert origin_of(x).source is source
    assert origin_of(nn.Dropout(0.0)(nn.Identity()(x))) is not None
    assert origin_of(nn.Dropout(0.5)(x)) is None
    assert origin_of(nn.ReLU(inplace=True)(x)) is None
    assert origin_of(Gelu()(x)).source is x
    with torch.no_grad():
        assert origin_of(made(nn.LayerNorm(6), source)) is None


_RANKS = 6 * 8 * 2 * 2 / 64  # KARST's, of blocks * kernels * rank, in six places


@pytest.mark.parametrize(
    ("spec", "extra"),
    [
        ({"kind": "lora", "rank": 2}, 1 + (2 * (6 + 2) + 2 + 2) / 64),
        ({"kind": "karst", "rank": 2, "rst": "channel"}, 2 * (3 + 1) + 1 + _RANKS),  # fc1's counts as its output did
    ],
)
def test_a_tuned_block_keeps_no_input_that_can_be_made_again(spec, extra):
    """In widths of D a token: what the frozen block keeps, outputs before their gain, and what has few channels."""
    kept = []
    for depth in (2, 4):
        model = build_model(tiny(backbone_options={**TINY, "depth": depth}, **_everywhere(**spec)))
        kept += [saved_bytes(model, torch.randn(clips, 3, 4, 32, 32)) for clips in (2, 3)]
    per_token = (kept[3] - kept[2] - kept[1] + kept[0]) / 2 / (4 * 17 * 64 * 4)
    assert per_token == pytest.approx(2 * 5 + 1 + 4 + extra, abs=0.3)  # and statistics, a few floats


def test_inference_keeps_nothing():
    model = build_model(tiny(**_everywhere(kind="karst", rst="channel"))).eval()
    with torch.no_grad():
        assert kept_bytes(lambda: model(torch.randn(1, 3, 4, 32, 32))) == 0


@pytest.mark.parametrize("mode", ["none", "mlp", "block"])
@pytest.mark.parametrize(
    "spec", [{"kind": "lora"}, {"kind": "karst", "rst": "channel"}, {"kind": "fact", "dropout": 0.1}]
)
def test_a_model_of_tuners_learns_as_its_plain_form(spec, mode, plain):
    model = build_model(tiny(unfreeze=["norms"], **_everywhere(**spec)))
    perturb(model)
    clips, labels = torch.randn(2, 3, 4, 32, 32), torch.tensor([1, 3])
    learning = [p for p in model.parameters() if p.requires_grad]
    results = []
    for prepare, chosen in ((lambda: None, mode), (plain, "none")):
        prepare()
        set_checkpointing(model.backbone, chosen)
        torch.manual_seed(0)
        loss = nn.functional.cross_entropy(model(clips), labels)
        results.append((loss.detach(), *torch.autograd.grad(loss, learning)))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", TUNERS)
def test_tuners_run_in_bf16_autocast(kind):
    options = {"rst": "channel"} if kind in ("karst", "fact") else {}
    tuner = TUNERS[kind](nn.Linear(48, 144), **options)
    perturb(tuner)
    x = torch.randn(6, 48, requires_grad=True)
    exact = torch.autograd.grad(tuner(x).square().mean(), [p for p in tuner.parameters()])
    with torch.autocast("cpu", torch.bfloat16):
        y = tuner(x)
    found = torch.autograd.grad(y.float().square().mean(), [p for p in tuner.parameters()])
    assert all(f.dtype == torch.float32 and (f - e).norm() < 0.03 * e.norm() for f, e in zip(found, exact, strict=True))
    assert y.dtype == (torch.float32 if kind == "bitfit" else torch.bfloat16)
