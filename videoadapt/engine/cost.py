"""What a training step costs: time, and what autograd keeps for the backward pass."""

import time
from collections.abc import Mapping
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt.engine.precision import autocast


def saved_bytes(model: nn.Module, clips: Tensor, precision: str = "fp32") -> int:
    """Bytes that a forward pass keeps alive for its backward pass: each storage once, parameters and buffers not.

    Under autocast the 16-bit copies of the weights count: they are kept too.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast(clips.device, precision):
        model.train()(clips).float().logsumexp(1).sum()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def step_seconds(
    models: Mapping[str, nn.Module], clips: Tensor, precision: str = "fp32", rounds: int = 5
) -> dict[str, float]:
    """Median seconds of forward, backward and AdamW step for each model, in interleaved rounds after one to warm up."""
    optimizers = {
        name: torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
        for name, model in models.items()
    }
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds + 1):
        for name, model in models.items():
            times[name].append(_timed_step(model.train(), optimizers[name], clips, precision))
    return {name: median(seconds[1:]) for name, seconds in times.items()}


def _timed_step(model: nn.Module, optimizer: torch.optim.Optimizer, clips: Tensor, precision: str) -> float:
    labels = torch.zeros(len(clips), dtype=torch.long, device=clips.device)
    started = time.perf_counter()
    with autocast(clips.device, precision):
        logits = model(clips)
    F.cross_entropy(logits.float(), labels).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if clips.device.type == "cuda":
        torch.cuda.synchronize(clips.device)
    return time.perf_counter() - started
