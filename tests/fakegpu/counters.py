"""What the fake GPU has seen, in a process that build.py has begun."""

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

_LIBRARY = ctypes.CDLL(None)


class Counts(NamedTuple):
    """Since the process began, or between two moments: ``later - earlier``."""

    starts: int  # kernels, products, copies, memsets: what the device has to begin
    graphs: int  # of them: whole graphs
    up: int  # copies to the device
    up_pageable: int  # of them: from memory that is not pinned, for which CUDA waits
    down: int  # copies to the host
    waits: int  # for a stream, an event or the device
    idle_waits: int  # of them: with nothing queued behind, so that the device idles until the program goes on
    foreign: int  # Triton's kernels begun on another device than that of their memory
    captured_waits: int  # during the capture of a graph, where CUDA refuses them

    def __sub__(self, earlier: "Counts") -> "Counts":  # type: ignore[override]
        return Counts(*(a - b for a, b in zip(self, earlier, strict=True)))


def counts() -> Counts:
    return Counts(*(ctypes.c_long * len(Counts._fields)).in_dll(_LIBRARY, "fake_counters"))


def counted(call: Callable[[], Any]) -> Counts:
    """What the second call asks for; the first compiles kernels and fills caches."""
    call()
    before = counts()
    call()
    return counts() - before


def each(seen: Counts, times: int = 1) -> dict[str, float]:
    return {name: number / times for name, number in seen._asdict().items()}


def names(earlier: Counts, later: Counts) -> list[str]:
    """Of the starts between two moments, in order, as the compiler has mangled them."""
    table = (ctypes.c_char_p * (1 << 20)).in_dll(_LIBRARY, "fake_names")
    return [table[i].decode() for i in range(earlier.starts, later.starts)]


def count_asking() -> None:
    """Count a program's questions whether an event is over: it waits by them. torch's own allocators ask elsewhere."""
    query = torch.cuda.Event.query

    def asked(event: torch.cuda.Event) -> bool:
        _LIBRARY.fake_event_asked(ctypes.c_void_p(event.cuda_event))
        return query(event)

    torch.cuda.Event.query = asked  # type: ignore[method-assign]
