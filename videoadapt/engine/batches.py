"""A function over pieces of any length, in batches of one size; and rows on their way to a device."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor


def in_batches(
    function: Callable[[Tensor], Tensor],
    pieces: Iterable[tuple[Any, Tensor]],
    size: Callable[[Any], int],
    static: bool = False,
) -> Iterator[tuple[Any, Tensor]]:
    """(key, function(piece)) for each (key, piece), in order; rows of neighbouring pieces share a call.

    Every call but the last, and the last before pieces of another shape, gets ``size(key)`` rows; each gives as many
    back. With ``static`` these two get as many as the others, contiguous like all then: their last row is repeated.
    """
    waiting, done = _Rows(), _Rows()
    keys: deque[tuple[Any, int]] = deque()
    shape: torch.Size | None = None

    def run(count: int, full: int) -> None:
        rows = waiting.take(count)
        done.push(function(_repeated(rows, full).contiguous())[:count] if static else function(rows))

    full = 0
    for key, piece in pieces:
        if len(waiting) and piece.shape[1:] != shape:
            run(len(waiting), full)
            yield from _finished(keys, done)
        shape, full = piece.shape[1:], size(key)
        keys.append((key, len(piece)))
        waiting.push(piece)
        while len(waiting) >= full:
            run(full, full)
        yield from _finished(keys, done)
    if len(waiting):
        run(len(waiting), full)
    yield from _finished(keys, done)


def rows_at(tensor: Tensor, places: Sequence[int]) -> Tensor:
    """``tensor[places]``, as a view where they are neighbours in order, and else without waiting for a device."""
    first, stop = places[0], places[-1] + 1
    if list(places) == list(range(first, stop)):
        return tensor[first:stop]
    return tensor[_index(tuple(places), tensor.device)]


@lru_cache(maxsize=64)  # the crops of a video, and videos of one length, show the same
def _index(places: tuple[int, ...], device: torch.device) -> Tensor:
    return sent(torch.tensor(places), device)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device. CUDA copies while the program goes on, if the tensor's own memory is pinned."""
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _repeated(rows: Tensor, count: int) -> Tensor:
    missing = count - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows


def _finished(keys: deque[tuple[Any, int]], done: "_Rows") -> Iterator[tuple[Any, Tensor]]:
    while keys and keys[0][1] <= len(done):
        key, count = keys.popleft()
        yield key, done.take(count)


class _Rows:
    """Tensors end to end: pushed whole, taken by the row."""

    def __init__(self) -> None:
        self._tensors: deque[Tensor] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, tensor: Tensor) -> None:
        self._tensors.append(tensor)
        self._count += len(tensor)

    def take(self, count: int) -> Tensor:
        taken = []
        self._count -= count
        while count:
            first = self._tensors.popleft()
            if len(first) > count:
                self._tensors.appendleft(first[count:])
            taken.append(first[:count])
            count -= len(taken[-1])
        return taken[0] if len(taken) == 1 else torch.cat(taken)
