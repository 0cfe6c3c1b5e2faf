"""Parity: every formula against an implementation that is not ours (golden files: make_goldens.py)."""

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from torch import nn

from videoadapt.adapters import SLOTS, KANLinear, KarstLinear, LoraLinear
from videoadapt.adapters.kan.splines import recursive_basis, spline_basis
from videoadapt.layout import Layout


def golden(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / f"{name}.npz").items()}


def linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(*reversed(weight.shape))
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def test_lora_equals_peft():
    g = golden("peft_lora")
    layer = LoraLinear(linear(g["proj_weight"], g["proj_bias"]), rank=3, alpha=6.0)
    layer.load_state_dict({"lora_a": g["proj_a"][None], "lora_b": g["proj_b"][None]}, strict=False)
    torch.testing.assert_close(layer(g["x"]), g["proj_y"], rtol=0, atol=1e-6)


def test_lora_on_a_fused_qkv_equals_peft_on_q_k_and_v():
    g = golden("peft_lora")
    join = lambda part, how: how([g[f"{name}_{part}"] for name in "qkv"])  # noqa: E731
    layer = LoraLinear(linear(join("weight", torch.cat), join("bias", torch.cat)), rank=3, alpha=6.0)
    layer.load_state_dict({"lora_a": join("a", torch.stack), "lora_b": join("b", torch.stack)}, strict=False)
    expected = torch.cat([g[f"{name}_y"] for name in "qkv"], -1)
    torch.testing.assert_close(layer(g["x"]), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(layer.merged()(g["x"]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("parts", [1, 3])
def test_karst_equals_torch_kron(parts):
    g = golden("kron_karst")
    delta = g[f"delta{parts}"]
    layer = KarstLinear(nn.Linear(24, delta.shape[0]), m=4, kernels=2, rank=3, parts=parts)
    layer.load_state_dict({"C": g["C"], "A": g[f"A{parts}"], "B": g["B"]}, strict=False)
    torch.testing.assert_close(layer.delta_weight(), delta, rtol=0, atol=1e-6)
    layer, x = layer.double(), torch.randn(5, 24).double()
    torch.testing.assert_close(layer(x), layer.base(x) + x @ delta.double().T, rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", [2, 3])
def test_the_splines_equal_scipy(order):
    g = golden("scipy_splines")
    x = g["x"].requires_grad_()
    basis = spline_basis(x, 5, order)
    torch.testing.assert_close(basis, g[f"y{order}"], rtol=0, atol=1e-12)
    slopes = torch.stack([torch.autograd.grad(row.sum(), x, retain_graph=True)[0] for row in basis])
    knots = torch.arange(-order, 6 + order) * 0.4 - 1  # where a quadratic's slope has a corner, either side is right
    smooth = (x.detach()[:, None] - knots).abs().amin(1) > 1e-9
    torch.testing.assert_close(slopes[:, smooth], g[f"dy{order}"][:, smooth], rtol=0, atol=1e-11)


def test_st_adapter_equals_a_3d_convolution():
    g = golden("conv3d_st_adapter")
    layer = SLOTS["st_adapter"](12, width=6)
    weights = {key: value for key, value in g.items() if "." in key}
    layer.load_state_dict({**weights, "conv.weight": weights["conv.weight"].flatten(2)})
    torch.testing.assert_close(layer(g["x"], Layout(5, 1, 3, 4)), g["y"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("part", "size"), [("a", (16, 33)), ("b", (33, 16))])
def test_kan_linear_equals_efficient_kan(part, size):
    g = {key[2:]: value for key, value in golden("kan_linear").items() if key.startswith(part)}
    layer = KANLinear(*size)
    names = {"base_weight": "base", "spline_weight": "spline", "spline_scaler": "scaler"}
    layer.load_state_dict({name: g[short] for name, short in names.items()})
    x = g["x"].requires_grad_()
    y = layer(x)
    y.backward(g["g"])
    torch.testing.assert_close(y, g["y"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(x.grad, g["dx"], rtol=1e-4, atol=1e-5)
    for name, short in names.items():
        torch.testing.assert_close(getattr(layer, name).grad, g["d" + short], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["qkv", "fc1"])
def test_karst_delta_equals_the_sum_of_kronecker_products(name):
    g = golden("karst_delta")
    delta = g[f"{name}_delta"]
    layer = KarstLinear(nn.Linear(64, delta.shape[0]), m=8, kernels=2, rank=4)
    layer.load_state_dict({part: g[f"{name}_{part}"] for part in "CAB"}, strict=False)
    torch.testing.assert_close(layer.double().delta_weight(), delta.double(), rtol=1e-5, atol=1e-6)


def test_karst_training_never_builds_the_weight_delta():
    layer = KarstLinear(nn.Linear(64, 256), rank=4)
    sizes = []
    pack = lambda tensor: sizes.append(tensor.numel()) or tensor  # noqa: E731
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(torch.randn(2, 64)).sum().backward()
    assert max(sizes) < 64 * 256


def test_the_closed_form_of_the_splines_equals_the_recursion():
    x = torch.linspace(-4, 4, 1001, dtype=torch.float64)[None].requires_grad_()
    closed, recursive = spline_basis(x, 5, 3), recursive_basis((x + 1) * 2.5, 5, 3)
    torch.testing.assert_close(closed, recursive, rtol=0, atol=1e-12)
    weights = torch.randn(closed.shape, dtype=torch.float64)
    grads = [torch.autograd.grad((basis * weights).sum(), x)[0] for basis in (closed, recursive)]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-11)
    inside = closed[..., (x[0].detach() >= -1) & (x[0].detach() <= 1)]
    torch.testing.assert_close(inside.sum(-2), torch.ones_like(inside[..., 0, :]))
    assert closed[..., x[0].detach().abs() > 2.2].abs().max() == 0


def test_the_splines_pass_gradcheck():
    x = (torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 5 - 2.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spline_basis(x, 5, 3), x)
