"""fp32, bf16 and fp16."""

import torch

from videoadapt.errors import UserError

_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast context of a precision; off for fp32."""
    dtype = _DTYPES[precision]
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def grad_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Loss scaling, which fp16 needs and the others do without."""
    if precision == "fp16" and device.type != "cuda":
        raise UserError("run.precision: fp16 trains on CUDA alone; use bf16 or fp32 on the CPU")
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
