"""How the tokens of a vision transformer lie."""

from typing import NamedTuple


class Layout(NamedTuple):
    """Tokens ((b t) n d): n is ``prefix`` (class, register and prompt tokens), then ``height`` x ``width`` patches."""

    t: int
    prefix: int
    height: int
    width: int
