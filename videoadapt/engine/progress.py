"""How far a job is, for who looks on: bars in a terminal, and nothing in a log file."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def counted(items: Iterable[Item], what: str, shown: bool = True) -> Iterator[Item]:
    """The items, with a bar of how many have come while they do; gone afterwards, and only where a terminal shows it.

    Args:
        what: is being done.
        shown: on the first of several ranks alone.
    """
    with tqdm(items, desc=what, unit="video", leave=False, disable=None if shown else True) as bar:
        yield from bar
