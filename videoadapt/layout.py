"""How the tokens of a vision transformer lie, and where they come from."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Layout(NamedTuple):
    """Tokens ((b t) n d): n is ``prefix`` (class, register and prompt tokens), then ``height`` x ``width`` patches."""

    t: int
    prefix: int
    height: int
    width: int


class Origin(NamedTuple):
    """How a tensor can be made again from one that waits for the backward pass anyway: ``make(source)``."""

    make: Callable[[Tensor], Tensor]
    source: Tensor


def made(make: Callable[[Tensor], Tensor], source: Tensor) -> Tensor:
    """``make(source)``, which remembers its origin: whoever reads it need not keep it."""
    return remembering(make(source), Origin(make, source))


def remembering(x: Tensor, origin: Origin) -> Tensor:
    """``x`` itself, with its origin, if a backward pass may ask for it.

    Modules of timm between the maker and the reader hand the tensor on as it is. One that computes something hands on
    another tensor, which has no origin; one that changes it in place is noticed by its version.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        x._origin = (origin, x._version)  # type: ignore[attr-defined]
    return x


def origin_of(x: Tensor) -> Origin | None:
    """None where nobody told, and for compilers: what a compiled graph keeps is their own choice."""
    if torch.compiler.is_compiling() or not hasattr(x, "_origin"):
        return None
    origin, version = x._origin
    return origin if version == x._version else None


def as_it_is(x: Tensor) -> Tensor:
    """How to make a tensor whose origin nobody told, from itself."""
    return x
