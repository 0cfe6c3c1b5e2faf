"""YAML files and ``key=value`` overrides to typed sections, and what differs between two of them."""

import copy
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from videoadapt.config.naming import find_config
from videoadapt.config.sections import Config
from videoadapt.errors import UserError, nearest

_MOST_VALUES = 100_000
_REMEDIES = {"data.num_classes": "; give it, or a file of class names in data.classes"}
_CHECKPOINTS = {".safetensors", ".pt", ".pth", ".bin", ".ckpt"}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, or a packaged config by name, and apply ``key=value`` overrides, whose values are YAML too."""
    raw = read_yaml(find_config(path))
    if {"base", "methods"} <= raw.keys():
        raise UserError(f"{path}: is a study, which 'videoadapt study' runs; name the config of one training")
    return make_config(raw, overrides, str(path))


def make_config(raw: Mapping[str, Any], overrides: Sequence[str], source: str) -> Config:
    """The same from plain nested mappings, which ``source`` names in errors."""
    whole = copy.deepcopy(dict(raw))
    for text in [overrides] if isinstance(overrides, str) else overrides:
        key, separator, value = text.partition("=")
        if not separator:
            raise UserError(f"override '{text}': expected key=value, e.g. optim.lr=1e-3")
        _set(whole, key.strip().split("."), _parse(value, f"override '{text}'"), replace=True)
    _count_classes(whole)
    return validate(Config, whole, source)


def _count_classes(whole: Mapping[str, Any]) -> None:
    """``data.num_classes``, where it is not given, is the number of names in the file of ``data.classes``."""
    data = whole.get("data")
    if not isinstance(data, dict) or data.get("num_classes") is not None or not isinstance(data.get("classes"), str):
        return
    with suppress(OSError, ValueError):  # it is missing then, as the next line tells
        names = Path(data["classes"]).read_text(encoding="utf-8-sig").split("\n")
        data["num_classes"] = sum(bool(name.strip()) for name in names)


def override(key: str, value: Any) -> str:
    """``key=value`` in which YAML reads just this value, whatever a text holds."""
    return f"{key}={json.dumps(value)}"


def validate(model: type[BaseModel], raw: Any, source: str = "", prefix: str = "") -> Any:
    """``model`` from plain data; the first thing wrong is a ``UserError`` that begins ``source: prefix.key:``."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")  # a typo explains what is missing
        raise UserError(f"{source}{': ' if source else ''}{_explain(first, model, prefix)}") from None


def _explain(error: Mapping, model: type[BaseModel], prefix: str) -> str:
    path = [str(part) for part in error["loc"] if not re.match(r"^(\w+\[|bool$|str$|literal)", str(part))]
    where = ".".join([prefix, *path] if prefix else path)
    if error["type"] == "extra_forbidden":
        keys = _keys_at(model, path[:-1])
        parent, _, key = where.rpartition(".")
        return f"{parent + ': ' if parent else ''}unknown key '{key}'; {nearest(key, keys)}"
    if error["type"] == "missing":
        return f"{where}: is missing{_REMEDIES.get(where, '')}"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{where}: {message}, got {error['input']!r}" if where else message


def _keys_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)


def _expanded(node: yaml.Node, sizes: dict[int, float]) -> float:
    """How many values a node stands for, its aliases written out."""
    if id(node) not in sizes:
        sizes[id(node)] = math.inf  # for an alias to what it is part of
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for entry in inner for part in (entry if isinstance(entry, tuple) else (entry,))]
        sizes[id(node)] = 1 + sum(_expanded(part, sizes) for part in parts)
    return sizes[id(node)]


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers (``3e-4`` is a float), no key twice, and no few lines that stand for millions."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        if "\0" in node.value:
            raise yaml.constructor.ConstructorError(None, None, "a value holds a NUL character", node.start_mark)
        return super().construct_scalar(node)

    def construct_document(self, node: yaml.Node) -> Any:
        if _expanded(node, {}) > _MOST_VALUES:
            raise yaml.constructor.ConstructorError(None, None, "its aliases never end", node.start_mark)
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' stands twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path, unfold: bool = True) -> dict:
    """The mapping in a YAML file; with ``unfold``, dotted keys become nested mappings."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot read the config: {error.strerror}") from None
    except UnicodeDecodeError:
        what = "a checkpoint" if path.suffix in _CHECKPOINTS else "no text"
        why = f"it is {what}; a config is a YAML file, or the name of a packaged one"
        raise UserError(f"{path}: cannot read the config: {why}") from None
    raw = _parse(text, str(path), unfold)
    if not isinstance(raw, dict):
        raise UserError(f"{path}: a config is a mapping of sections: {', '.join(Config.model_fields)}")
    return raw


def _parse(text: str, source: str, unfold: bool = True) -> Any:
    try:
        value = yaml.load(text, Loader=_Loader)
        return _nested(value) if unfold else value
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = error.problem or error.context or ""
        remedy = "; indent with spaces" if r"'\t'" in problem else ""
        raise UserError(f"{source}: not valid YAML: {place}{problem}{remedy}") from None
    except (yaml.YAMLError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{source}: not valid YAML: nested too deeply") from None


def _nested(value: Any) -> Any:
    """Dotted keys unfolded into mappings, at every depth."""
    if not isinstance(value, dict):
        return value
    result: dict = {}
    for key, inner in value.items():
        _set(result, str(key).split("."), _nested(inner), replace=False)
    return result


def _set(tree: dict, path: Sequence[str], value: Any, replace: bool) -> None:
    """Put ``value`` at ``path``; without ``replace``, mappings merge and nothing may stand twice."""
    *parents, last = path
    for part in parents:
        if not isinstance(tree.get(part), dict):
            if part in tree and not replace:
                raise ValueError(f"key '{part}' stands twice")
            tree[part] = {}
        tree = tree[part]
    if replace or last not in tree:
        tree[last] = value
    elif isinstance(tree[last], dict) and isinstance(value, dict):
        for key, inner in value.items():
            _set(tree[last], [key], inner, replace)
    else:
        raise ValueError(f"key '{last}' stands twice")


def first_difference(one: Mapping, other: Mapping, free: frozenset[str] = frozenset()) -> tuple[str, Any, Any] | None:
    """The first dotted key, outside ``free``, at which two dumped sections differ, and both values."""
    for key in [*one, *(key for key in other if key not in one)]:
        a, b = one.get(key), other.get(key)
        if key in free or a == b:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            inner = frozenset(name.partition(".")[2] for name in free if name.startswith(f"{key}."))
            if deeper := first_difference(a, b, inner):
                return f"{key}.{deeper[0]}", *deeper[1:]
            continue
        return key, a, b
    return None
