"""Rows of a comparison: ours against a peer, time and memory as ratios."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from videoadapt.engine.cost import interleaved


class Side(NamedTuple):
    """What is timed, and how many bytes it takes; None where nobody counted."""

    call: Callable[[], Any]
    bytes: float | None = None


def rows(
    sides: Mapping[str, Side], rounds: int, pairs: Iterable[tuple[str, str]] | None = None, **facts: Any
) -> list[dict[str, Any]]:
    """One row for each pair (ours, peer) of names, all timed in the same rounds; the first against each by default.

    Seconds are median, least and most of a call. A ratio below 1 is in favour of ours. ``facts`` stand in every row.
    """
    times = interleaved({name: side.call for name, side in sides.items()}, rounds)
    first, *others = sides
    return [
        {
            **facts,
            "name": ours,
            "against": peer,
            "time_ratio": round(times[ours].median / times[peer].median, 3),
            "memory_ratio": _ratio(sides[ours].bytes, sides[peer].bytes),
            "seconds": [round(value, 5) for value in times[ours]],
            "against_seconds": [round(value, 5) for value in times[peer]],
            "bytes": sides[ours].bytes,
            "against_bytes": sides[peer].bytes,
        }
        for ours, peer in (pairs or [(first, other) for other in others])
    ]


def _ratio(ours: float | None, peer: float | None) -> float | None:
    return round(ours / peer, 3) if ours is not None and peer else None
