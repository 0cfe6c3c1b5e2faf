"""Triton's kernels compiled ahead of time, as for a GPU: no spilled registers in bf16, and products on tensor cores.

Ordinarily every kernel for an H100 (sm_90), and one layer for the oldest GPU. All of them for all, some minutes:
VIDEOADAPT_AOT=all python -m pytest -m aot
"""
# ruff: noqa: E402, what follows needs Triton

import os
from collections.abc import Callable

import pytest
import torch

triton = pytest.importorskip("triton")

import triton.language as tl
from compiling import compiled

from videoadapt.adapters import KANLinear
from videoadapt.adapters.kan import triton_kernels as of_kan
from videoadapt.models import triton_kernels as of_block

pytestmark = pytest.mark.aot

ARCHITECTURES = (80, 90, 100, 120)  # A100, H100, B200, consumer Blackwell
TOKENS = 6304  # of four clips of eight frames


def kan(inputs: int, outputs: int) -> Callable[[], None]:
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


# What launches kernels, and how many of them have products. A new function is one more row.
CASES: dict[str, tuple[Callable[[], None], int]] = {
    "LoKi's first layer": (kan(48, 97), 3),
    "LoKi's second layer": (kan(97, 48), 3),
    "KAN's first layer": (kan(768, 11), 3),
    "KAN's second layer": (kan(11, 768), 3),
    "QuickGELU": (quick_gelu, 0),
    "time attention": (time_attention, 2),
}
# Bytes a thread that some need beyond 255 registers; these may only fall.
STACK = {
    (80, "LoKi's first layer", "_grad_edges"): 8,
    (80, "LoKi's second layer", "_grad_input"): 8,
    (80, "KAN's first layer", "_grad_input"): 48,
    (90, "KAN's first layer", "_grad_input"): 16,
    (100, "LoKi's second layer", "_grad_input"): 136,
    (100, "KAN's first layer", "_grad_input"): 40,
    (120, "LoKi's first layer", "_grad_input"): 16,
    (120, "LoKi's second layer", "_grad_input"): 24,
    (120, "KAN's first layer", "_grad_input"): 40,
}
_ALL = os.environ.get("VIDEOADAPT_AOT") == "all"
ROWS = [(arch, case) for arch in ARCHITECTURES for case in CASES if _ALL or arch == 90]
ROWS += [] if _ALL else [(80, "LoKi's first layer")]


@pytest.mark.parametrize(("arch", "case"), ROWS, ids=lambda value: f"sm_{value}" if isinstance(value, int) else value)
def test_a_kernel_compiles_without_spilled_registers(arch, case):
    launch, products = CASES[case]
    kernels = compiled(arch, launch)
    assert kernels
    for kernel in kernels:
        assert kernel.stack <= STACK.get((arch, case, kernel.name), 0), kernel.name
        assert kernel.shared <= 99 * 1024  # what every one of these GPUs has
        print(f"| sm_{arch} | {case} | {kernel.name} | {kernel.registers} | {kernel.stack} | {kernel.shared} |")
    assert sum("mma" in kernel.ptx for kernel in kernels) == products


@triton.jit
def _too_much(x_ptr):
    here = tl.arange(0, 8192)  # 256 numbers a thread
    x = tl.load(x_ptr + here)
    tl.store(x_ptr + here, x - tl.max(x, 0))


def test_spilled_registers_are_seen():
    (kernel,) = compiled(90, lambda: _too_much[(1,)](torch.zeros(8192), num_warps=1))
    assert kernel.stack > 0
