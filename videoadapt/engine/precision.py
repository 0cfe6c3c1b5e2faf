"""fp32, bf16 and fp16, and how exact and how repeatable arithmetic is."""

import os

import torch
from torch import nn

from videoadapt.engine import distributed
from videoadapt.errors import UserError

_BF16_SINCE = (8, 0)  # A100; older GPUs take bf16 too, and are slower with it
_WORKSPACES = (":4096:8", ":16:8")  # of cuBLAS, with which its sums have one order
_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def chosen_precision(precision: str, device: torch.device) -> str:
    """What ``auto`` stands for, the same on every rank: bf16 where all of their GPUs have it in hardware, else fp32."""
    if precision != "auto":
        return precision
    native = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _BF16_SINCE
    return "bf16" if all(distributed.gather(native)) else "fp32"


def set_arithmetic(device: torch.device, tf32: bool = False, deterministic: bool = False) -> None:
    """Of this process from now on, on CUDA, which should not be in use yet; CPUs have no TF32 and repeat themselves.

    Args:
        tf32: products and convolutions of fp32 round their factors to 10 bits. Without it, none do: torch itself
            allows it to convolutions.
        deterministic: only operations that give the same bits every time, and an error where there is none.
    """
    if device.type != "cuda":
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    if not deterministic:
        return
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    if workspace not in _WORKSPACES and (workspace or torch.cuda.is_initialized()):
        seen = f"now it is {workspace}" if workspace else "CUDA is already in use"
        remedy = f"set CUBLAS_WORKSPACE_CONFIG={_WORKSPACES[0]} before the program starts"
        raise UserError(f"run.deterministic: {remedy}; {seen}")
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = workspace or _WORKSPACES[0]
    torch.use_deterministic_algorithms(True)
    # It would cost a kernel for each new tensor, only to find bugs.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # of a class of its own


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast context of a precision; off for fp32."""
    dtype = _DTYPES[precision]
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def grad_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Loss scaling, which fp16 needs and the others do without."""
    if precision == "fp16" and device.type != "cuda":
        raise UserError("run.precision: fp16 trains on CUDA alone; use bf16 or fp32 on the CPU")
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def hold_frozen(model: nn.Module, precision: str) -> None:
    """Keep the frozen weights of products in the 16 bits in which ``autocast`` would cast them in every pass.

    The results are the same bits, for less memory and fewer operations. What is saved, merged or exported afterwards
    must not come from these weights.
    """
    dtype = _DTYPES[precision]
    for module in model.modules():
        if dtype is not None and isinstance(module, nn.Linear | nn.Conv2d):
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad:
                    parameter.data = parameter.data.to(dtype)
