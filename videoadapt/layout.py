"""How the tokens of a vision transformer lie, and where they come from."""

from typing import NamedTuple

from torch import Tensor, nn


class Layout(NamedTuple):
    """Tokens ((b t) n d): n is ``prefix`` (class, register and prompt tokens), then ``height`` x ``width`` patches."""

    t: int
    prefix: int
    height: int
    width: int


class Origin(NamedTuple):
    """Normed tokens: ``norm(source)``."""

    norm: nn.Module
    source: Tensor
