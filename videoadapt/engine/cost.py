"""What a training step costs: time, and what autograd keeps for the backward pass."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from videoadapt.engine.precision import autocast


class Seconds(NamedTuple):
    """Of one call, over the rounds."""

    median: float
    least: float
    most: float


def interleaved(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Seconds]:
    """Each side once to warm up, then ``rounds`` times, one after the other: a noisy machine troubles all alike."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, call in sides.items():
            _finish()
            began = time.perf_counter()
            call()
            _finish()
            if number:
                times[name].append(time.perf_counter() - began)
    return {name: Seconds(median(t), min(t), max(t)) for name, t in times.items()}


def training_step(model: nn.Module, clips: Tensor, precision: str = "fp32") -> Callable[[], None]:
    """Forward, backward and AdamW on the same clips, at every call."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6, fused=True)
    labels = torch.zeros(len(clips), dtype=torch.long, device=clips.device)

    def step() -> None:
        with autocast(clips.device, precision):
            logits = model.train()(clips)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def step_seconds(
    models: Mapping[str, nn.Module], clips: Tensor, precision: str = "fp32", rounds: int = 5
) -> dict[str, float]:
    """Median seconds of a ``training_step`` of each model."""
    steps = {name: training_step(model, clips, precision) for name, model in models.items()}
    return {name: seconds.median for name, seconds in interleaved(steps, rounds).items()}


def saved_bytes(model: nn.Module, clips: Tensor, precision: str = "fp32") -> int:
    """``kept_bytes`` of a training step's forward pass."""
    with autocast(clips.device, precision):
        return kept_bytes(lambda: model.train()(clips).float().logsumexp(1).sum())


def kept_bytes(forward: Callable[[], Tensor]) -> int:
    """Bytes made by ``forward`` that live on while only its result is held: what waits for the backward pass.

    Each storage counts once; so do those that activation checkpointing keeps aside, and under autocast the 16-bit
    copies of the weights. What a compiled function keeps is not seen: see ``packed_bytes``.
    """
    with _Births() as births:
        result = forward()
    return births.alive() - result.untyped_storage().nbytes()


def packed_bytes(forward: Callable[[], Tensor], parameters: nn.Module) -> int:
    """Bytes that autograd packs away in ``forward``, compiled or not: each storage once, parameters not."""
    own = {parameter.untyped_storage().data_ptr() for parameter in parameters.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


class _Births(TorchDispatchMode):
    """Remembers every storage that an operation makes, without holding it."""

    def __init__(self) -> None:
        super().__init__()
        self._born: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        old = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and (storage := leaf.untyped_storage())._cdata not in old:
                self._born[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        return result

    def alive(self) -> int:
        return sum(size for storage, size in self._born.values() if not storage.expired())


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
