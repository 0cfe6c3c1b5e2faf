"""Imports point one way, and the functions stay small."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PATTERNS = ("videoadapt/**/*.py", "videoadapt/**/*.pyi", "tools/*.py")
FILES = sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern))
# The order of the house: a part may import those beside its name, and everyone may import every leaf.
LEAVES = {"atomic", "errors", "gpu", "layout", "packaged", "precision", "signals", "tensorfile"}
ALLOWED = {
    "models": set(),
    "adapters": set(),
    "video": set(),
    "data": {"video"},
    "demo": {"video"},
    "engine": set(),
    "report": set(),
    "benchmarks": {"adapters", "builders", "config", "data", "engine", "models", "video"},
    "config": set(),
    "commands": {"__version__", "workflows", "benchmarks", "config", "demo", "report"},
    "__main__": {"commands"},
    "workflows": {"builders", "models", "adapters", "data", "video", "demo", "engine", "report", "config"},
    "builders": {"models", "adapters", "data", "video", "engine", "config"},
    "__init__": {"adapters", "builders", "config", "data", "engine", "models", "video", "workflows"},
}


def _part(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "videoadapt" else "tools"


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (module := _absolute(node, path)).split(".")[0] == "videoadapt":
            parts = module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("videoadapt.")}
    return found


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    """The module that is imported from; stubs write it relative to their own."""
    package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
    return ".".join([*package, *([node.module] if node.module else [])])


@pytest.mark.parametrize("path", [f for f in FILES if _part(f) != "tools"], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_part_imports_only_what_it_may(path):
    part = _part(path)
    assert _imported(path) <= ALLOWED.get(part, set()) | LEAVES | {part}


def test_every_part_has_its_place_in_the_order():
    assert {_part(path) for path in FILES} == {*ALLOWED, *LEAVES, "tools"}


@pytest.mark.parametrize("path", [*FILES, *sorted(ROOT.glob("tests/*.py"))], ids=lambda p: str(p.relative_to(ROOT)))
def test_sizes_stay_readable(path):
    source = path.read_text()
    assert source.count("\n") <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 70, node.name
