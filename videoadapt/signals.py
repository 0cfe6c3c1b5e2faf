"""Signals: by which clusters and users ask a run to end, and by which it notices that it waits too long."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from videoadapt.errors import Interrupted, PeerLost

_SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
_CAN_WAIT = hasattr(signal, "sigwaitinfo")  # on Linux


class Stalled(BaseException):
    """The time of an ``alarm`` is over; raised anywhere, so it is no ``Exception``."""


@contextmanager
def alarm(seconds: float | None) -> Iterator[None]:
    """Raise Stalled in the main thread if what it does takes longer; elsewhere, and for None, there is no limit.

    It ends every wait of Python's, but not a call into a library that does not return.
    """
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise Stalled

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class StopSignals:
    """While it lasts, SIGTERM, SIGINT and SIGUSR1 only leave their name in ``received``; ``advice`` says how to go on.

    A second SIGINT is a KeyboardInterrupt, except under torchrun, which passes on the terminal's own.
    """

    def __init__(self, advice: str = "run.resume=auto goes on") -> None:
        self.received: str | None = None
        self._advice = advice
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
            raise Interrupted(f"stopped by {self.received}; {self._advice}")


@contextmanager
def held() -> Iterator[None]:
    """Signals wait until it is over; processes that begin meanwhile have them blocked."""
    if not _CAN_WAIT:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent(_worker: int = 0) -> None:
    """For processes that only serve another: what a terminal or a cluster sends to all is that one's to decide.

    The parent's own SIGTERM still ends them. Begin them while signals are ``held``, or the first moments are unguarded.
    """
    if not _CAN_WAIT:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    parent = multiprocessing.parent_process()
    number = os.getppid() if parent is None else parent.pid
    threading.Thread(target=_obey_parent, args=[number], daemon=True).start()


def _obey_parent(parent: int) -> None:
    while True:
        came = signal.sigwaitinfo(_SIGNALS)
        if came.si_signo == signal.SIGTERM and came.si_pid == parent:
            os._exit(0)
