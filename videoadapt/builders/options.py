"""A constructor's annotated signature is the schema of its options in a config."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import create_model
from torch import nn

from videoadapt.config import Section, validate
from videoadapt.errors import UserError, nearest


def chosen(catalogue: Mapping[str, Callable], spec: Mapping[str, Any], where: str) -> tuple[Callable, dict[str, Any]]:
    """The entry that ``{kind: name, **options}`` names, and the options."""
    options = dict(spec)
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in catalogue:
        problem = "'kind' is missing" if kind is None else f"no kind '{kind}'"
        raise UserError(f"{where}: {problem}; {nearest(kind, catalogue)}")
    return catalogue[kind], options


def maker(
    make: Callable,
    options: Mapping[str, Any],
    where: str,
    fixed: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> Callable[..., nn.Module]:
    """``make`` with options that were checked against its signature; what it refuses later is a ``UserError`` too.

    Args:
        where: the options' key in the config.
        fixed: arguments that are not the user's to choose, as far as ``make`` takes them.
        defaults: arguments for options that are not given, as far as ``make`` takes them.
    """
    parameters = inspect.signature(make).parameters
    schema: dict[str, Any] = {
        name: (p.annotation, ... if p.default is p.empty else p.default)
        for name, p in parameters.items()
        if name not in fixed and p.annotation is not nn.Linear
    }
    given = validate(create_model(make.__name__, __base__=Section, **schema), options, prefix=where)
    arguments = {**(defaults or {}), **given.model_dump(exclude_unset=True), **fixed}
    return partial(_construct, make, where, **{key: arguments[key] for key in arguments if key in parameters})


def _construct(make: Callable, where: str, *args: Any, **arguments: Any) -> nn.Module:
    try:
        return make(*args, **arguments)
    except (ValueError, OverflowError, RuntimeError, TypeError) as error:  # torch's are those of absurd sizes
        raise UserError(f"{where}: {str(error).splitlines()[0]}") from None
