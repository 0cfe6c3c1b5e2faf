"""Where this package's Triton kernels run, and how precise their products are."""

import logging
import os
from functools import cache

import torch
from torch import Tensor

log = logging.getLogger(__name__)
_OLDEST = (8, 0)  # A100: before it kernels spill their registers, and 16 bits have no bfloat16


def has_kernels(x: Tensor) -> bool:
    """Whether Triton's kernels take ``x``; if not, torch's own operations do.

    They need an NVIDIA GPU of compute capability 8.0, a C compiler and Python's headers. VIDEOADAPT_TRITON=0 forbids
    them; it is read once.
    """
    if torch.compiler.is_compiling():  # which writes kernels of its own, and must not trace into Triton's driver
        return False
    return x.is_cuda and x.dtype != torch.float64 and _run_on(x.get_device())


@cache
def _run_on(device: int) -> bool:
    if os.environ.get("VIDEOADAPT_TRITON") == "0" or torch.version.cuda is None:  # AMD's GPUs are called cuda too
        return False
    if torch.cuda.get_device_capability(device) < _OLDEST:
        return False
    try:
        from triton.runtime.driver import driver
    except ImportError:  # triton comes with torch on Linux alone
        return False
    try:
        driver.active.get_current_target()  # compiles a small C program, once a machine
    except Exception as error:  # a compiler's, Python's or the system's
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        log.warning(
            "Triton cannot compile (%s): GPU kernels are replaced by torch's own operations, which are slower; "
            "install a C compiler and Python's headers (gcc and python3-dev)",
            why,
        )
        return False
    return True


def product_precision(dtype: torch.dtype) -> str:
    """Of a kernel's products of numbers of this type, in Triton's words; for fp32 there is a choice.

    TF32 alone if the user allows it to torch, by its newer switch or by the older; else three TF32 products for one,
    which are as exact as fp32 and use the tensor cores.
    """
    if dtype != torch.float32:
        return "ieee"
    matmul = torch.backends.cuda.matmul
    wanted = matmul.fp32_precision == "tf32" if hasattr(matmul, "fp32_precision") else matmul.allow_tf32
    return "tf32" if wanted else "tf32x3"
