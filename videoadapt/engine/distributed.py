"""One process or many: the little that the loops need to know about it."""

import os
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from videoadapt.engine.rendezvous import join
from videoadapt.errors import PeerLost, UserError

# For one rank to wait for another, which may evaluate slower videos; a rank that hangs names itself much earlier.
_PATIENCE = timedelta(hours=1)
_PATIENCE_OF_GPUS = timedelta(minutes=10)  # by nccl it waits for the videos of a step
_LATER = timedelta(minutes=2)  # nccl's own watchdog, which ends a process with many lines, comes that much later
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


@dataclass
class _Peers:
    """How this process speaks to the others, once they have met."""

    tensors: dist.ProcessGroup | None = None  # nccl's; None for the one of everything
    patience: timedelta = _PATIENCE


_peers = _Peers()


def start(device: str = "auto", slowest: float | None = 0.0) -> Ranks:
    """Join torchrun's process group if there is one: tensors go by nccl on GPUs, by gloo on CPUs, objects by gloo.

    Args:
        slowest: seconds after which a rank that gets no data ends; None if it never does. The others wait longer.
    """
    chosen = pick_device(device, "run.device")
    launched = is_launched()
    local_rank = int(os.environ.get("LOCAL_RANK") or 0) if launched else 0
    if chosen.type == "cuda":
        chosen = torch.device("cuda", _gpu_of(local_rank) if launched else chosen.index or 0)
        torch.cuda.set_device(chosen)
    if not launched:
        return Ranks(chosen)
    with peers():
        join("gloo", _PATIENCE)
        if chosen.type == "cuda":
            _join_gpus(chosen, slowest)
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE") or dist.get_world_size())
    return Ranks(chosen, dist.get_rank(), dist.get_world_size(), local_rank, local_world)


def _gpu_of(local_rank: int) -> int:
    """The number of a rank's GPU among those that it sees."""
    count = torch.cuda.device_count()
    if count == 1:  # a rank may have been given its own, as by srun --gpus-per-task; _join_gpus tells if it was not
        return 0
    if local_rank >= count:
        raise UserError(f"run.device: no GPU {local_rank}, torch sees {count}; start as many ranks as GPUs")
    return local_rank


def _join_gpus(device: torch.device, slowest: float | None) -> None:
    about = torch.cuda.get_device_properties(device)
    places = gather((platform.node(), str(about.uuid)))
    for rank, place in enumerate(places):
        if (first := places.index(place)) < rank:
            raise UserError(
                f"run.device: ranks {first} and {rank} have the same GPU of {place[0]}; start as many ranks as GPUs"
            )
    _peers.patience = _PATIENCE
    if slowest is not None:
        _peers.patience = max(_PATIENCE_OF_GPUS, timedelta(minutes=1, seconds=slowest))
    # With its device a rank meets the others here, and not in the first step, where nobody would count the minutes.
    group = dist.new_group(backend="nccl", timeout=_peers.patience + _LATER, device_id=device)
    _peers.tensors = cast(dist.ProcessGroup, group)  # every rank is in it


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
    """The device of a name, which ``key`` has: auto is cuda where there is one; UserError if it is not there.

    On GPUs, cuDNN's attention is off from then on.
    """
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
    if chosen.type == "cuda":
        # cuDNN's gradients of attention differ from one time to the next, and it plans anew for every shape.
        torch.backends.cuda.enable_cudnn_sdp(False)
    return chosen


def mesh(ranks: Ranks) -> DeviceMesh:
    """All ranks, for what PyTorch itself shares among them."""
    if _peers.tensors is None:
        return init_device_mesh(ranks.device.type, (ranks.world,))
    return DeviceMesh.from_group(_peers.tensors, ranks.device.type)


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
        _peers.tensors = None


def world_size() -> int:
    """Of the ranks that have met."""
    return dist.get_world_size() if dist.is_initialized() else 1


def patience() -> float:
    """Seconds that a device may wait for other ranks."""
    return _peers.patience.total_seconds()


def failure() -> str | None:
    """What nccl's watchdog has found: ``timeout`` or an error of the connection; None as long as all is well."""
    if _peers.tensors is None:
        return None
    state = _peers.tensors._get_backend(torch.device("cuda")).get_error().name
    return None if state == "SUCCESS" else state.lower()


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
        dist.all_reduce(message, group=_peers.tensors)
    message /= dist.get_world_size()
    means = message.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(list(tensors), [mean.view_as(tensor) for mean, tensor in zip(means, tensors, strict=True)])


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
