"""What the programs ask of a GPU, counted on one that does nothing (tests/fakegpu): python -m pytest -m fakegpu

A training on a GPU is bound by the program if it starts many small kernels, and the GPU idles where the program waits.
The figures of LIMITS may only fall; ``python tests/fakegpu/measure.py --tables`` prints them, with the host's time.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakegpu.build import CannotBuild, environment

from videoadapt.commands.benchmark import show_gpu

pytestmark = pytest.mark.fakegpu

# What of which: at most so much. Steps are of ViT-B/16 with 2 blocks, 2 clips of 8 frames, bf16, with torch 2.14.
LIMITS = {
    "module starts": 15,  # LoKi [48,97,48] alone, forward and backward
    "steps aim starts": 327,
    "steps loki starts": 273,
    "steps karst starts": 487,
    "steps lora starts": 295,
    "steps fact starts": 441,
    "steps ssf starts": 308,
    "steps convpass starts": 430,
    "steps full starts": 217,
    "graph starts": 66,
    **{f"steps {name} peak_mb": most for name, most in {"aim": 394, "loki": 373, "karst": 371, "full": 555}.items()},
    "tests 8x1x1 waits": 0.125,  # one for eight videos
    "tests 8x3x3 waits": 0.125,
    "tests 8x1x1 starts": 16,
    "tests 8x3x3 starts": 131,
    "tests 8x3x3 up_pageable": 0,
    "elsewhere foreign": 0,  # kernels on the current GPU instead of their tensors'
}
SLACK = {"starts": 1.05, "peak_mb": 1.02}  # for other versions of torch
WAITS, IDLE_WAITS, PAGEABLE = 1, 0, 0  # a step, of every method
LOKI_AGAINST_AIM = 0.84  # starts a step
NO_KERNELS = "Triton cannot build its launcher here: it needs Python's headers"


@pytest.fixture(scope="module")
def found():
    """The figures of a program that saw the fake GPU."""
    try:
        variables = environment()
    except CannotBuild as reason:
        pytest.skip(f"no fake GPU here: {reason}")
    variables |= {"FAKE_GPUS": "2", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(Path(__file__).parent / "fakegpu" / "measure.py")]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("law", LIMITS)
def test_a_gpu_is_asked_for_no_more(found, law):
    value = found
    if not found["kernels"] and "steps" not in law:  # LoKi's
        pytest.skip(NO_KERNELS)
    for key in law.split():
        value = value[key]
    assert value <= LIMITS[law] * SLACK.get(law.split()[-1], 1)


def test_loki_is_no_more_work_for_the_program_than_an_adapter(found):
    if not found["kernels"]:
        pytest.skip(NO_KERNELS)
    steps = found["steps"]
    assert steps["loki"]["starts"] <= LOKI_AGAINST_AIM * steps["aim"]["starts"]


def test_a_step_waits_seldom_and_late(found):
    for name, step in {**found["steps"], "graph": found["graph"]}.items():
        assert step["waits"] <= WAITS, name
        assert step["idle_waits"] <= IDLE_WAITS, name
        assert step["up_pageable"] <= PAGEABLE, name
        assert step["foreign"] == 0, name


def test_the_benchmark_runs_on_it(found, capsys):
    *rows, fed, too_large = found["benchmark"]
    assert [row["name"] for row in rows] == [
        "AIM's own block", "loki", "loki, run.compile: graph", "karst", "lora",
    ]  # fmt: skip
    for row in rows:
        assert row["fits"] and row["wall"] > 0 and row["host"] > 0 and row["memory"] > 0
        assert row["hours"] == pytest.approx(240_000 * 30 / row["clips_per_second"] / 3600, rel=0.1)
        assert row["ratio"] == (None if row is rows[0] else round(row["wall"] / rows[0]["wall"], 3))
    assert fed["name"] == "loki, fed by the loader" and fed["clips_per_second"] > 0
    assert not too_large["fits"]
    show_gpu(found["benchmark"], {"gpu": "a fake H100"})
    out = capsys.readouterr().out
    assert out.startswith("machine: gpu a fake H100\n") and out.count("small, 2 clips of 2 frames") == 7
    assert "out of memory" in out and "30 epochs of 240,000 videos" in out


KNOWN = {
    "a sum": {"starts": 1},
    "a product": {"starts": 1},
    "memory of the program": {"starts": 1, "up": 1, "up_pageable": 1, "waits": 1, "idle_waits": 1},
    "pinned memory": {"starts": 1, "up": 1},
    "a number": {"starts": 1, "down": 1, "waits": 1, "idle_waits": 1},
    "an event with work behind it": {"starts": 1, "waits": 1},
    "an event that is asked": {"starts": 1, "waits": 1},
    "a graph of two": {"starts": 1, "graphs": 1},
    "more than there is": {},
}


@pytest.mark.parametrize("operation", KNOWN)
def test_the_fake_counts_right(found, operation):
    assert {name: number for name, number in found["known"][operation].items() if number} == KNOWN[operation]


def test_the_fake_refuses_a_wait_in_a_graph(found):
    assert found["known"]["a number in a graph"]["captured_waits"] == 1


def test_the_fake_sees_a_kernel_on_the_wrong_gpu(found):
    if not found["kernels"]:
        pytest.skip(NO_KERNELS)
    assert found["known"]["a kernel on the wrong GPU"]["foreign"] == 1


def test_without_a_compiler_there_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotBuild, match="no gcc"):
        environment()
    assert "LD_PRELOAD" not in os.environ
