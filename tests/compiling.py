"""Triton kernels compiled for GPUs that are not here: Triton's launcher makes the signature, nothing is launched."""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


class Compiled(NamedTuple):
    """What one kernel became; the bytes are of a program, registers of a thread."""

    name: str
    registers: int
    stack: int  # bytes a thread, which spilled registers need
    shared: int  # bytes
    ptx: str


def compiled(arch: int, call: Callable[[], Any]) -> list[Compiled]:
    """Every kernel that ``call`` would launch, on tensors of the CPU, compiled for ``sm_<arch>``."""
    with _recorded(arch) as kernels:
        call()
    return [_facts(kernel) for kernel in kernels]


class _Pointer:
    """What the launcher asks of a tensor; torch's allocations begin at multiples of 512 bytes."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.dtype, self.shape = tensor.dtype, tensor.shape

    def data_ptr(self) -> int:
        return 0

    def ptr_range(self) -> int:
        return 0


def _target(arch: int) -> SimpleNamespace:
    """Stands for the driver of a GPU."""
    target = GPUTarget("cuda", arch, 32)
    return SimpleNamespace(
        get_current_target=lambda: target,
        get_current_device=lambda: arch,  # the launcher keeps what it has compiled by device
        get_current_stream=lambda _=None: 0,
        get_active_torch_device=lambda: torch.device("cuda", 0),
        utils=SimpleNamespace(get_device_properties=lambda _: {"max_shared_mem": 232448}),
    )


@contextmanager
def _recorded(arch: int) -> Iterator[list[Any]]:
    kernels: list[Any] = []
    run, active = JITFunction.run, driver._active

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        pointers = [_Pointer(value) if isinstance(value, torch.Tensor) else value for value in args]
        named = {k: _Pointer(value) if isinstance(value, torch.Tensor) else value for k, value in options.items()}
        kernels.append(run(self, *pointers, grid=grid, warmup=True, **named))
        return kernels[-1]

    driver._active, JITFunction.run = _target(arch), compile_only
    try:
        yield kernels
    finally:
        JITFunction.run, driver._active = run, active


def _facts(kernel: Any) -> Compiled:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(kernel.asm["cubin"])
        command = [_TOOLS / "cuobjdump", "--dump-resource-usage", file.name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    registers, stack = (int(re.search(rf"{key}:(\d+)", text)[1]) for key in ("REG", "STACK"))  # type: ignore[index]
    return Compiled(kernel.metadata.name, registers, stack, kernel.metadata.shared, kernel.asm["ptx"])
