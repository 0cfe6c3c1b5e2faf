"""Numbers that a device still works on, fetched without stopping the program meanwhile."""

import os
import sys
import threading
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from videoadapt.engine import distributed
from videoadapt.errors import PeerLost

_SPIN = 1e-3  # seconds of asking again at once, which a short wait is not longer for
_NAP = 5e-4  # seconds between two questions after that
_LAST_WAIT = 20.0  # seconds after a request to end; who asked kills what has not ended after 30
_ROUND = 5.0  # seconds between two looks of the guard
_GRACE = 30.0  # seconds that the main thread has to find out for itself


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
            if distributed.world_size() > 1:
                guard.watch(self._event)
        else:
            self._values = tensor.clone()

    def tolist(self, hurry: Callable[[], bool] = lambda: False) -> list[float]:
        """The numbers, as soon as they are there: see ``tensor``."""
        return self.tensor(hurry).tolist()

    def tensor(self, hurry: Callable[[], bool] = lambda: False) -> Tensor:
        """The copy, on the CPU, as soon as it is there.

        Python's signal handlers run while it waits. Where there are other ranks, whose gradients the device may wait
        for, PeerLost ends a wait that is longer than their patience, or than 20 s from when ``hurry()`` is true.
        """
        if self._event is not None:
            try:
                wait_for(self._event.query, hurry)
            except PeerLost:
                guard.dismiss()
                raise
            guard.forget(self._event)
            self._event = None
        return self._values


def wait_for(ready: Callable[[], bool], hurry: Callable[[], bool] = lambda: False) -> None:
    """Until ``ready()``, as ``Arriving.tensor`` says."""
    began = time.monotonic()
    end = began + distributed.patience()
    hurried = False
    while not ready():
        now = time.monotonic()
        if now - began < _SPIN:
            continue
        if not hurried and hurry():
            hurried, end = True, min(end, now + _LAST_WAIT)
        if distributed.world_size() > 1 and (now > end or distributed.failure()):
            raise PeerLost(_lost(now - began))
        time.sleep(_NAP)


def _lost(seconds: float) -> str:
    return f"lost the other ranks ({distributed.failure() or 'no answer'} after {seconds:.0f} s)"


class Guard:
    """Ends the process where the main thread cannot.

    A device that waits for a rank that has gone takes about a thousand more starts; the next one does not return, and
    with it Python's main thread.
    """

    def __init__(self) -> None:
        self._since: dict[torch.cuda.Event, float] = {}
        self._thread: threading.Thread | None = None

    def watch(self, event: torch.cuda.Event) -> None:
        self._since[event] = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._go_round, name="lost-ranks", daemon=True)
            self._thread.start()

    def forget(self, event: torch.cuda.Event) -> None:
        self._since.pop(event, None)

    def dismiss(self) -> None:
        """The main thread knows."""
        self._since.clear()

    def _go_round(self) -> None:
        while True:
            time.sleep(_ROUND)
            for event, since in list(self._since.items()):
                self._look(event, time.monotonic() - since)

    def _look(self, event: torch.cuda.Event, seconds: float) -> None:
        """No question to the device before it must be: it could disturb what the main thread records."""
        if seconds < _GRACE or (seconds < distributed.patience() + _GRACE and not distributed.failure()):
            return
        if event.query():  # only nobody has asked for the numbers yet
            self.forget(event)
            return
        prefix = f"rank {dist.get_rank()}: " if dist.get_rank() else ""
        print(f"{prefix}{_lost(seconds)}", file=sys.stderr, flush=True)
        os._exit(PeerLost.exit_code)  # an orderly way out would wait for the device


guard = Guard()
