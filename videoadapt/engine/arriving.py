"""Numbers that a device still works on, fetched without stopping the program meanwhile."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from videoadapt.engine import distributed
from videoadapt.errors import PeerLost

_SPIN = 1e-3  # seconds of asking again at once, which a short wait is not longer for
_NAP = 5e-4  # seconds between two questions after that
_LAST_WAIT = 20.0  # seconds after a request to end; who asked kills what has not ended after 30


class Arriving:
    """A copy of a small tensor on its way to the program, (n).

    On CUDA the copy is queued behind the work that computes the tensor, and goes on while the program queues more;
    the tensor itself may be overwritten by what is queued later. Elsewhere the copy is made at once.
    """

    def __init__(self, tensor: Tensor) -> None:
        tensor = tensor.detach()
        self._event: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            self._values = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._values.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(tensor.device))
        else:
            self._values = tensor.clone()

    def tolist(self, hurry: Callable[[], bool] = lambda: False) -> list[float]:
        """The numbers, as soon as they are there.

        Python's signal handlers run while it waits. Where there are other ranks, whose gradients the device may wait
        for, PeerLost ends a wait that is longer than their patience, or than 20 s from when ``hurry()`` is true.
        """
        if self._event is not None:
            wait_for(self._event.query, hurry)
            self._event = None
        return self._values.tolist()


def wait_for(ready: Callable[[], bool], hurry: Callable[[], bool] = lambda: False) -> None:
    """Until ``ready()``, as ``Arriving.tolist`` says."""
    began = time.monotonic()
    end = began + distributed.PATIENCE["nccl"].total_seconds()
    hurried = False
    while not ready():
        now = time.monotonic()
        if now - began < _SPIN:
            continue
        if not hurried and hurry():
            hurried, end = True, min(end, now + _LAST_WAIT)
        if now > end and distributed.world_size() > 1:
            raise PeerLost(f"lost the other ranks (no answer for {now - began:.0f} s)")
        time.sleep(_NAP)
