"""A function over pieces of any length, in batches of one size."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor


def in_batches(
    function: Callable[[Tensor], Tensor], pieces: Iterable[tuple[Any, Tensor]], size: Callable[[Any], int]
) -> Iterator[tuple[Any, Tensor]]:
    """(key, function(piece)) for each (key, piece), in order; rows of neighbouring pieces share a call.

    Every call but the last, and the last before pieces of another shape, gets ``size(key)`` rows; each gives as many
    back.
    """
    waiting, done = _Rows(), _Rows()
    keys: deque[tuple[Any, int]] = deque()
    shape: torch.Size | None = None
    for key, piece in pieces:
        if len(waiting) and piece.shape[1:] != shape:
            done.push(function(waiting.take(len(waiting))))
            yield from _finished(keys, done)
        shape = piece.shape[1:]
        keys.append((key, len(piece)))
        waiting.push(piece)
        while len(waiting) >= size(key):
            done.push(function(waiting.take(size(key))))
        yield from _finished(keys, done)
    if len(waiting):
        done.push(function(waiting.take(len(waiting))))
    yield from _finished(keys, done)


def _finished(keys: deque[tuple[Any, int]], done: "_Rows") -> Iterator[tuple[Any, Tensor]]:
    while keys and keys[0][1] <= len(done):
        key, count = keys.popleft()
        yield key, done.take(count)


class _Rows:
    """Tensors end to end: pushed whole, taken by the row."""

    def __init__(self) -> None:
        self._tensors: deque[Tensor] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._tensors))

    def push(self, tensor: Tensor) -> None:
        self._tensors.append(tensor)

    def take(self, count: int) -> Tensor:
        taken = []
        while count:
            first = self._tensors.popleft()
            if len(first) > count:
                self._tensors.appendleft(first[count:])
            taken.append(first[:count])
            count -= len(taken[-1])
        return taken[0] if len(taken) == 1 else torch.cat(taken)
