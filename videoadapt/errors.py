"""What ends a program other than success; everything else is a bug and keeps its traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake that the user can correct; the message is one line that names the thing and the remedy.

    The commands print it alone and exit with code 2.
    """


class Interrupted(BaseException):
    """A signal asked a run to end; all it did is saved, and the message says how to go on. Exit code 75.

    Like KeyboardInterrupt it may be raised anywhere, so it is no ``Exception``.
    """


class PeerLost(Exception):
    """Another rank of this job has ended or hangs; its own error tells why. Exit code 3."""

    exit_code = 3


def similar(word: str, choices: Iterable[object]) -> str | None:
    """The choice that looks most like ``word``, if one does."""
    close = get_close_matches(str(word), [str(choice) for choice in choices], n=1, cutoff=0.6)
    return close[0] if close else None


def nearest(word: str, choices: Iterable[object]) -> str:
    """``did you mean 'x'?`` for the most similar choice, else the list of choices."""
    words = [str(choice) for choice in choices]
    close = similar(word, words)
    return f"did you mean '{close}'?" if close else f"choose from: {', '.join(words)}"
