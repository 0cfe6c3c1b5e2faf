"""Triton's kernels compiled ahead of time, as for a GPU: no spilled registers in bf16, and products on tensor cores.

Ordinarily those of the usual sizes for an H100 (sm_90), and some for others. All of them for all, in some minutes:
VIDEOADAPT_AOT=all python -m pytest -m aot
"""
# ruff: noqa: E402, what follows needs Triton

import os
from collections.abc import Callable
from typing import NamedTuple
from unittest.mock import patch

import pytest
import torch

triton = pytest.importorskip("triton")

import triton.language as tl
from compiling import compiled

from videoadapt.adapters import KANLinear
from videoadapt.adapters.kan import triton_kernels as of_kan
from videoadapt.adapters.slots import loki as of_loki
from videoadapt.models import triton_kernels as of_block

pytestmark = pytest.mark.aot

ARCHITECTURES = (80, 90, 100, 120)  # A100, H100, B200, consumer Blackwell
TOKENS = 6304  # of four clips of eight frames


def loki(widths: list[int], dim: int, tokens: int) -> Callable[[], None]:
    """Forward and backward, as on a GPU."""

    def launch() -> None:
        x = torch.zeros(tokens, dim, dtype=torch.bfloat16, requires_grad=True)
        with patch.object(of_loki, "is_fast", lambda _: True):
            y = of_loki.LoKi(dim, widths=widths)(x)
        y.backward(y.detach())

    return launch


def kan(inputs: int, outputs: int) -> Callable[[], None]:
    @torch.no_grad()
    def launch() -> None:
        layer = KANLinear(inputs, outputs)
        parameters = layer.base_weight, layer.spline_weight, layer.spline_scaler
        x, grad = (torch.zeros(TOKENS, width, dtype=torch.bfloat16) for width in (inputs, outputs))
        of_kan.forward(x, *parameters, layer.grid_size)
        of_kan.backward(grad, x, *parameters, layer.grid_size)

    return launch


def quick_gelu() -> None:
    x = torch.zeros(TOKENS, 3072, dtype=torch.bfloat16)
    of_block.quick_gelu_backward(of_block.quick_gelu(x), x)


def time_attention() -> None:
    qkv = torch.zeros(TOKENS // 8, 8, 3 * 768, dtype=torch.bfloat16)
    of_block.attend_backward(of_block.attend(qkv, 12, 0.125), qkv, 12, 0.125)


class Case(NamedTuple):
    """Calls that launch kernels."""

    launch: Callable[[], None]
    products: int  # how many of the kernels have some
    ordinarily: tuple[int, ...] = ()  # the architectures of every test run


CASES = {
    "LoKi, 4 clips": Case(loki([48, 97, 48], 768, 6304), 3, (80,)),
    "LoKi, 32 clips": Case(loki([48, 97, 48], 768, 50432), 3, (90,)),
    "small LoKi": Case(loki([16, 33, 16], 768, 6304), 3),
    "LoKi of L/14": Case(loki([64, 129, 64], 1024, 8224), 3),
    "LoKi's first layer, compiled": Case(kan(48, 97), 3),
    "LoKi's second layer, compiled": Case(kan(97, 48), 3),
    "KAN's first layer": Case(kan(768, 11), 3, (90,)),
    "KAN's second layer": Case(kan(11, 768), 3),
    "QuickGELU": Case(quick_gelu, 0, (90, 120)),
    "time attention": Case(time_attention, 2, (90,)),
}
# Bytes a thread that some need beyond 255 registers; these may only fall.
STACK = {
    (80, "LoKi's first layer, compiled", "_forward"): 8,
    (80, "LoKi's first layer, compiled", "_grad_edges"): 8,
    (100, "LoKi's first layer, compiled", "_forward"): 8,
    (100, "LoKi's second layer, compiled", "_forward"): 8,
    (100, "LoKi's second layer, compiled", "_grad_input"): 8,
    (120, "LoKi's second layer, compiled", "_grad_input"): 16,
}
_ALL = os.environ.get("VIDEOADAPT_AOT") == "all"
ROWS = [(arch, name) for arch in ARCHITECTURES for name, case in CASES.items() if _ALL or arch in case.ordinarily]


@pytest.mark.parametrize(("arch", "case"), ROWS, ids=lambda value: f"sm_{value}" if isinstance(value, int) else value)
def test_a_kernel_compiles_without_spilled_registers(arch, case):
    kernels = compiled(arch, CASES[case].launch)
    assert kernels
    for kernel in kernels:
        print(f"| sm_{arch} | {case} | {kernel.name} | {kernel.registers} | {kernel.stack} | {kernel.shared} |")
        assert kernel.shared <= 99 * 1024  # what every one of these GPUs has
    assert {k.name: k.stack for k in kernels if k.stack > STACK.get((arch, case, k.name), 0)} == {}
    assert sum("mma" in kernel.ptx for kernel in kernels) == CASES[case].products


@triton.jit
def _too_much(x_ptr):
    here = tl.arange(0, 8192)  # 256 numbers a thread
    x = tl.load(x_ptr + here)
    tl.store(x_ptr + here, x - tl.max(x, 0))


def test_spilled_registers_are_seen():
    (kernel,) = compiled(90, lambda: _too_much[(1,)](torch.zeros(8192), num_warps=1))
    assert kernel.stack > 0
