"""Views: the frames x clips x crops of a multi-view test, and several such protocols in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Views:
    """``32x3x1`` is 32 frames a clip, 3 clips, 1 crop: 3 views."""

    frames: int
    clips: int = 1
    crops: int = 1

    @classmethod
    def parse(cls, text: str) -> "Views":
        return cls(*map(int, text.split("x")))

    def __str__(self) -> str:
        return f"{self.frames}x{self.clips}x{self.crops}"


@dataclass(frozen=True)
class Plan:
    """What to cut from each video so that several answers can be made of its views.

    ``draws`` are (frames, clips): their clips are numbered one draw after the other. Of three crops the middle one has
    number 1, and it is the only one of a protocol with one crop. ``selections`` name views (clip, crop) whose mean is
    an answer.
    """

    draws: tuple[tuple[int, int], ...]
    crops: int
    selections: dict[str, tuple[tuple[int, int], ...]]


def plan(protocols: Sequence[Views], steps: bool = False) -> Plan:
    """All views of all protocols, each once; with ``steps`` also what ever more views of the last would answer.

    The steps are named like ``8x2x1 of 8x3x3``: evenly spread clips of the protocol, first with the middle crop alone.
    """
    draws = tuple(dict.fromkeys((views.frames, views.clips) for views in protocols))
    crops = max(views.crops for views in protocols)
    first = {draw: sum(clips for _, clips in draws[:number]) for number, draw in enumerate(draws)}

    def pick(views: Views, clips: Sequence[int], width: int) -> tuple[tuple[int, int], ...]:
        start = first[views.frames, views.clips]
        chosen = range(crops) if width == crops else [1]
        return tuple((start + clip, crop) for clip, crop in product(clips, chosen))

    selections = {str(views): pick(views, range(views.clips), views.crops) for views in protocols}
    if steps:
        last = protocols[-1]
        for width, count in product(sorted({1, last.crops}), _doubled(last.clips)):
            clips = [(2 * k + 1) * last.clips // (2 * count) for k in range(count)]
            selections[f"{Views(last.frames, count, width)} of {last}"] = pick(last, clips, width)
    return Plan(draws, crops, selections)


def _doubled(most: int) -> list[int]:
    """1, 2, 4, ... and ``most``."""
    return [*(2**k for k in range(most.bit_length()) if 2**k < most), most]
