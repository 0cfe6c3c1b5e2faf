"""Signals by which clusters and users ask a run to end."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from videoadapt.errors import Interrupted, PeerLost

_SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))


class StopSignals:
    """While it lasts, SIGTERM, SIGINT and SIGUSR1 only leave their name in ``received``.

    A second SIGINT is a KeyboardInterrupt, except under torchrun, which passes on the terminal's own.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._at_once = False
        self._before: dict = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        return self

    def __exit__(self, _kind: type | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.received and isinstance(error, PeerLost):  # no step will end any more
            signal.raise_signal(signal.Signals[self.received])

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Where nothing is lost, a signal ends the run in the middle: raises Interrupted."""
        self._at_once = True
        try:
            self._raise_if_received()
            yield
        finally:
            self._at_once = False

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        again, self.received = self.received is not None, signal.Signals(number).name
        if self._at_once:
            self._raise_if_received()
        if again and number == signal.SIGINT and "RANK" not in os.environ:
            raise KeyboardInterrupt

    def _raise_if_received(self) -> None:
        if self.received:
            raise Interrupted(f"stopped by {self.received}; run.resume=auto goes on")


def leave_signals_to_parent(_worker: int = 0) -> None:
    """For processes that only serve another: what a terminal or a cluster sends to all is that one's to decide."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
