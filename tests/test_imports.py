"""Imports point one way, and the functions stay small."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("videoadapt/**/*.py"), *ROOT.glob("tools/*.py")])
LEAVES = {"atomic", "errors", "layout", "precision", "signals", "tensorfile"}  # may be imported by everyone
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
    "atomic": set(),
    "errors": set(),
    "layout": set(),
    "precision": set(),
    "signals": set(),
    "tensorfile": set(),
    "cli": set(),
    "workflows": {"builders", "models", "adapters", "data", "video", "engine", "report", "config"},
    "builders": {"models", "adapters", "data", "video", "engine", "config"},
    "__init__": {"adapters", "builders", "config", "workflows"},
}


def _part(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "videoadapt" else "tools"


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "videoadapt":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("videoadapt.")}
    return found


@pytest.mark.parametrize("path", [f for f in FILES if _part(f) != "tools"], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_part_imports_only_what_it_may(path):
    part = _part(path)
    assert _imported(path) <= ALLOWED[part] | LEAVES | {part}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_sizes_stay_readable(path):
    source = path.read_text()
    assert source.count("\n") <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 70, node.name
