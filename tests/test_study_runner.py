"""Cells on several devices, one that fails, and signals: on programs that do as they are told."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from conftest import TOOLS

from videoadapt.config import cells, load_study
from videoadapt.errors import Interrupted, UserError
from videoadapt.workflows.study import CellRunner

BASE = TOOLS.parent / "configs" / "digits" / "linear_mini.yaml"


@pytest.fixture
def fake_program(tmp_path):
    """A program whose train and test sleep as long as a file of the cell's method says, and leave traces."""
    (tmp_path / "program.py").write_text(
        """import json, pathlib, sys, time
name = sys.argv[1]
out = pathlib.Path(json.loads([a for a in sys.argv if a.startswith("run.out_dir=")][-1].partition("=")[2]))
(out / f"{name}.started").write_text(" ".join(sys.argv))
if out.parent.name == "bad":
    while not (out.parents[1] / "slow" / "seed0" / "train.started").exists():
        time.sleep(0.05)
    sys.exit("error: it went wrong")
time.sleep(30 if out.parent.name == "slow" and name == "train" else 0.2)
(out / f"{name}.ended").touch()
"""
    )
    return [sys.executable, str(tmp_path / "program.py")]


def _todo(tmp_path, *methods):
    study = {"base": str(BASE), "data": ["digits"], "methods": {name: [] for name in methods}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**study, "out_dir": str(tmp_path / "study")}))
    return {cell: cell.config() for cell in cells(load_study(tmp_path / "study.yaml"))}


def test_each_device_works_on_one_cell_at_a_time(fake_program, tmp_path):
    configs, told = _todo(tmp_path, "a", "b", "c", "d"), []
    CellRunner(fake_program, ["cuda:0", "cuda:1"]).run(list(configs), configs, told.append)
    assert sorted(cell.method for cell in told) == ["a", "b", "c", "d"]
    used = []
    for config in configs.values():
        words = Path(config.run.out_dir, "test.started").read_text().split()
        used.append(next(word for word in words if word.startswith("run.device=")))
    assert set(used) == {"run.device=cuda:0", "run.device=cuda:1"}


def test_a_failing_cell_ends_the_others_and_is_named(fake_program, tmp_path):
    configs = _todo(tmp_path, "bad", "slow", "waits")
    with pytest.raises(UserError, match=r"digits/bad/seed0: train ended with code 1: it went wrong \(.*train.log"):
        CellRunner(fake_program, ["", ""]).run(list(configs), configs, lambda cell: None)
    out = tmp_path / "study" / "digits"
    assert (out / "slow" / "seed0" / "train.started").exists() and not (out / "slow" / "seed0" / "train.ended").exists()
    assert not (out / "waits").exists()


def test_a_signal_to_the_study_reaches_its_cells(fake_program, tmp_path):
    configs = _todo(tmp_path, "slow")
    started = tmp_path / "study" / "digits" / "slow" / "seed0" / "train.started"

    def send():
        while not started.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send).start()
    with pytest.raises(Interrupted, match="stopped by SIGTERM; the same command goes on"):
        CellRunner(fake_program).run(list(configs), configs, lambda cell: None)
    assert not started.with_name("train.ended").exists()


def test_nothing_begins_once_the_study_was_stopped(fake_program, tmp_path):
    configs = _todo(tmp_path, "a")
    runner = CellRunner(fake_program)
    runner._stop(UserError("it went wrong elsewhere"))
    with pytest.raises(UserError, match="it went wrong elsewhere"):
        runner.run(list(configs), configs, lambda cell: None)
    assert not list((tmp_path / "study").rglob("*.started"))
