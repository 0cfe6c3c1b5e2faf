"""One process or many: the little that the loops need to know about it."""

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from videoadapt.errors import UserError


@dataclass(frozen=True)
class Ranks:
    """This process among all: ``rank`` of ``world``, working on ``device``."""

    device: torch.device
    rank: int = 0
    world: int = 1
    local_world: int = 1  # ranks on this machine

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def start(device: str = "auto") -> Ranks:
    """Join torchrun's process group if there is one: nccl on GPUs, gloo on CPUs."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise UserError(f"run.device: no device '{device}'; choose from: auto, cpu, cuda, cuda:<number>") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"run.device: '{device}' asked for, but torch sees no GPU; use cpu or auto")
    launched = "RANK" in os.environ
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]) if launched else chosen.index or 0)
        count = torch.cuda.device_count()
        if chosen.index >= count:
            raise UserError(f"run.device: no GPU {chosen.index}, torch sees {count}; start as many ranks as GPUs")
        torch.cuda.set_device(chosen)
    if not launched:
        return Ranks(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size()))
    return Ranks(chosen, dist.get_rank(), dist.get_world_size(), local_world)


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def gather(value: Any) -> list[Any]:
    """Every rank's value, in rank order, on every rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def mean(value: Tensor) -> float:
    """The mean of a scalar over the ranks."""
    value = value.detach().float().clone()
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value.item()
