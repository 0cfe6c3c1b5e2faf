"""Operations of which everybody knows what they ask of a GPU: they judge the fake itself."""

from collections.abc import Callable
from typing import Any

import torch
import triton
from counters import counted, each

from videoadapt.gpu import has_kernels

FIRST, SECOND = torch.device("cuda", 0), torch.device("cuda", 1)


def known() -> dict[str, dict[str, float]]:
    x, page, pinned = torch.zeros(4, 4, device=FIRST), torch.zeros(4), torch.zeros(4).pin_memory()
    event, asked, graph = torch.cuda.Event(), torch.cuda.Event(), torch.cuda.CUDAGraph()

    def late(end: Callable[[], Any], event: torch.cuda.Event) -> None:
        event.record()
        x.add_(1)
        end()

    with torch.cuda.graph(graph):
        x.add_(1).mul_(2)
    calls = {
        "a sum": lambda: x + 1,
        "a product": lambda: x @ x,
        "memory of the program": lambda: page.to(FIRST),
        "pinned memory": lambda: pinned.to(FIRST, non_blocking=True),
        "a number": lambda: x[0, 0].item(),
        "an event with work behind it": lambda: late(event.synchronize, event),
        "an event that is asked": lambda: late(asked.query, asked),
        "a graph of two": graph.replay,
        "a number in a graph": _capture_a_number,
        "more than there is": _ask_for_too_much,
    }
    if has_kernels(x):
        calls["a kernel on the wrong GPU"] = _start_elsewhere
    return {name: each(counted(call)) for name, call in calls.items()}


def _capture_a_number() -> None:
    x = torch.zeros(4, device=FIRST)
    try:
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            x[0].item()
    except torch.AcceleratorError:
        return
    raise AssertionError("it is refused")


@triton.jit
def _nothing(x):
    pass


def _start_elsewhere() -> None:
    _nothing[(1,)](torch.zeros(4, device=SECOND))


def _ask_for_too_much() -> None:
    try:
        torch.empty(2**40, device=FIRST)
    except torch.cuda.OutOfMemoryError:
        return
    raise AssertionError("there is no such memory")
