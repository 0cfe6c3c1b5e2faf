"""How much of a training is waiting for its data."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)
Item = TypeVar("Item")
_MUCH = 0.2  # of the time
_LONG = 60.0  # seconds of training in which that is no accident


class Waiting:
    """Measures which share of the time a loop over batches waits for them, and says once if it is much.

    Evaluations lie between two passes and do not count. Neither does the first batch of all, for which the data
    workers start.

    Args:
        remedy: what to do about it, for the line that says so; None says nothing.
        clock: seconds.
    """

    def __init__(self, remedy: str | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        self._remedy, self._clock = remedy, clock
        self._begun = self._waited = 0.0  # of the window since the last ``share``
        self._time = self._lost = 0.0  # of the windows before it, for the line
        self._started = False

    def over(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The batches, watched, from the beginning of a window on."""
        self._open()
        coming = iter(batches)
        while True:
            asked = self._clock()
            try:
                batch = next(coming)
            except StopIteration:
                return
            self._waited += self._clock() - asked
            if not self._started:
                self._started = True
                self._open()
            yield batch

    def share(self) -> float:
        """Of the time since the last call or the beginning of the pass, what was spent waiting: 0 to 1."""
        passed, lost = self._clock() - self._begun, self._waited
        self._open()
        self._time, self._lost = self._time + passed, self._lost + lost
        if self._time >= _LONG:
            self._judge(self._lost / self._time)
            self._time = self._lost = 0.0
        return lost / passed if passed > 0 else 0.0

    def _open(self) -> None:
        self._begun, self._waited = self._clock(), 0.0

    def _judge(self, share: float) -> None:
        if self._remedy and share > _MUCH:
            log.warning("the training waits for its data %.0f %% of the time; %s", 100 * share, self._remedy)
            self._remedy = None
