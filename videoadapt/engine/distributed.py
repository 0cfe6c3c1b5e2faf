"""One process or many: the little that the loops need to know about it."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from videoadapt.engine.rendezvous import join
from videoadapt.errors import PeerLost, UserError

# For one rank to wait for another. By gloo it may wait for slower videos of an evaluation, by nccl for those of a step;
# a rank that hangs names itself much earlier.
PATIENCE = {"gloo": timedelta(hours=1), "nccl": timedelta(minutes=10)}
_OF_A_RANK, _OF_A_MACHINE = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"), ("LOCAL_RANK", "LOCAL_WORLD_SIZE")
# What the loss of other ranks looks like in an error of torch.
_OF_OTHERS = re.compile("gloo|nccl|TCPStore|ProcessGroup|connection (closed|reset|refused)", re.IGNORECASE)


@dataclass(frozen=True)
class Ranks:
    """This process among all: ``rank`` of ``world``, working on ``device``."""

    device: torch.device
    rank: int = 0
    world: int = 1
    local_rank: int = 0  # on this machine
    local_world: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def start(device: str = "auto") -> Ranks:
    """Join torchrun's process group if there is one: tensors go by nccl on GPUs, by gloo on CPUs, objects by gloo."""
    chosen = pick_device(device, "run.device")
    launched = is_launched()
    local_rank = int(os.environ.get("LOCAL_RANK") or 0) if launched else 0
    if chosen.type == "cuda":
        chosen = torch.device("cuda", local_rank if launched else chosen.index or 0)
        count = torch.cuda.device_count()
        if chosen.index >= count:
            raise UserError(f"run.device: no GPU {chosen.index}, torch sees {count}; start as many ranks as GPUs")
        torch.cuda.set_device(chosen)
    if not launched:
        return Ranks(chosen)
    with peers():
        join("cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo", PATIENCE["gloo"])
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE") or dist.get_world_size())
    return Ranks(chosen, dist.get_rank(), dist.get_world_size(), local_rank, local_world)


def is_launched() -> bool:
    """Whether this process is one of several, by the variables that torchrun sets; UserError for a part of them.

    Without RANK the others say nothing: a cluster may set WORLD_SIZE for a job, and SLURM has variables of its own.
    """
    known = {name: value for name in (*_OF_A_RANK, *_OF_A_MACHINE) if (value := os.environ.get(name))}
    if "RANK" not in known:
        return False
    remedy = "start ranks with torchrun, or unset RANK"
    if absent := [name for name in _OF_A_RANK if name not in known]:
        raise UserError(f"the environment has RANK={known['RANK']}, but no {', '.join(absent)}; {remedy}")
    for name, value in known.items():
        if name != "MASTER_ADDR" and not value.isdecimal():
            raise UserError(f"the environment has {name}={value}, which is no number; {remedy}")
    if int(known["RANK"]) >= int(known["WORLD_SIZE"]):
        raise UserError(f"the environment has RANK={known['RANK']} of WORLD_SIZE={known['WORLD_SIZE']}; {remedy}")
    return True


def pick_device(name: str, key: str) -> torch.device:
    """The device of a name, which ``key`` has: auto is cuda where there is one; UserError if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise UserError(f"{key}: no device '{name}'; choose from: auto, cpu, cuda, cuda:<number>") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{key}: '{name}' asked for, but torch sees no GPU; use cpu or auto")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(f"{key}: no GPU {chosen.index}, torch sees {torch.cuda.device_count()}")
    return chosen


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def world_size() -> int:
    """Of the ranks that have met."""
    return dist.get_world_size() if dist.is_initialized() else 1


def gather(value: Any) -> list[Any]:
    """Every rank's value, in rank order, on every rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    with peers():
        dist.all_gather_object(values, value)
    return values


def from_main(value: Any) -> Any:
    """The first rank's value, on every rank."""
    if not dist.is_initialized():
        return value
    values = [value]
    with peers():
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]


def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor, of one dtype and device, by its mean over the ranks: in place, in one message.

    The layout of the message never changes, and so neither do the bits of a sum over three ranks and more.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    message = torch.cat([tensor.flatten() for tensor in tensors])
    with peers():
        dist.all_reduce(message)
    message /= dist.get_world_size()
    for tensor, mean in zip(tensors, message.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


@contextmanager
def peers() -> Iterator[None]:
    """Where other ranks may go missing: what comes from another's end is that one's to explain."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).strip().splitlines() or [""]
        alone = "RANK" not in os.environ or os.environ.get("WORLD_SIZE") == "1"
        if alone or not (isinstance(error, dist.DistBackendError) or _OF_OTHERS.search(text[0])):
            raise
        raise PeerLost(f"lost the other ranks ({text[0]})") from error
