"""Every YAML of configs/ loads, builds on the meta device and opens with its command."""

from pathlib import Path

import pytest

from videoadapt.build import build_model
from videoadapt.config import load_config

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(ROOT.glob("configs/*/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_config_loads_builds_and_names_its_command(path):
    config = load_config(path)
    model = build_model(config.model, device="meta")
    assert any(p.requires_grad for p in model.parameters())
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ") and f"tools/train.py {path.relative_to(ROOT)}" in first
