"""Workers that hang or die, and steps that are not finite: named, and nothing is lost."""

import copy
import json
import logging
import multiprocessing
import os
import re
import signal
import subprocess
import time

import numpy as np
import torch
from chaos import compare
from conftest import at_step

from videoadapt.data.datasets import Sample
from videoadapt.engine.learner import Learner
from videoadapt.signals import leave_signals_to_parent


def _suspend_worker(monkeypatch):
    """From the second step on, the worker stands still."""

    def suspend():
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGSTOP)

    at_step(monkeypatch, 2, suspend)


def test_a_worker_that_hangs_is_named_with_its_videos(run, monkeypatch):
    _suspend_worker(monkeypatch)
    code, err = run("data.workers=1", "data.stall_limit=1")
    assert code == 2 and err.count("\n") == 1 and not multiprocessing.active_children()
    assert re.search(r"no video came for 1 s \(data.stall_limit\): reading hangs, at one of \d+.mp4, \d+.mp4 or", err)


def test_a_worker_that_is_killed_is_one_line(run, monkeypatch):
    at_step(monkeypatch, 2, lambda: os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL))
    code, err = run("data.workers=1")
    assert code == 2 and err.count("\n") == 1 and "lower data.workers" in err
    assert re.search(r"DataLoader worker .*; a decoder crashed|DataLoader worker .*, at one of \d.mp4", err)


def test_a_workers_own_mistake_keeps_its_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    code, err = run("data.workers=1", f"data.cache_dir={tmp_path / 'file'}")
    assert code == 2 and err == f"error: data.cache_dir: cannot write into {tmp_path / 'file'} (File exists)\n"


def test_signals_to_the_whole_process_group_leave_the_workers_alone(problem, run, tmp_path, monkeypatch):
    """A cluster's signals come from elsewhere; to the run itself they come a step later."""

    def send(name, *processes):
        subprocess.run(["kill", f"-{name}", *map(str, processes)], check=True)

    def to_workers():
        for name in ("TERM", "INT", "USR1"):
            send(name, *(worker.pid for worker in multiprocessing.active_children()))

    at_step(monkeypatch, 3, lambda: send("TERM", os.getpid()))
    at_step(monkeypatch, 1, to_workers)
    assert run("data.workers=2") == (75, "stopped by SIGTERM after step 3; run.resume=auto goes on\n")
    assert run() == (0, "")
    compare(problem[1], tmp_path / "run")


def test_a_worker_obeys_its_parent():
    worker = multiprocessing.get_context("fork").Process(target=_serve)
    worker.start()
    time.sleep(0.3)
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
    worker.join(0.5)
    assert worker.is_alive()
    worker.terminate()
    worker.join(5)
    assert worker.exitcode == 0


def _serve():
    leave_signals_to_parent()
    time.sleep(60)


def _poison(monkeypatch, *steps):
    """Let the loss of these steps be NaN."""
    backward, calls = Learner._backward, []

    def poisoned(self, samples, parts):
        calls.append(None)
        if len(calls) in steps:
            samples = [sample._replace(views=sample.views.float() * float("nan")) for sample in samples]
        return backward(self, samples, parts)

    monkeypatch.setattr(Learner, "_backward", poisoned)


def _warnings(caplog):
    """Of steps; that the problem's list is trained on and validated on is another."""
    found = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    return [message for message in found if "learnt by heart" not in message]


def test_a_step_that_is_not_finite_changes_nothing_and_is_told(run, tmp_path, monkeypatch, caplog):
    _poison(monkeypatch, 3)
    assert run()[0] == 0
    (message,) = _warnings(caplog)
    assert re.fullmatch(r"step 3 skipped: loss nan on \d.mp4, \d.mp4", message)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[2]["loss"] is None and lines[2]["skipped_steps"] == 1 == lines[7]["skipped_steps"]
    assert all(np.isfinite(line["loss"]) for line in lines if line["step"] != 3)


def test_too_many_of_them_end_the_run_with_the_names(run, tmp_path, monkeypatch, caplog):
    _poison(monkeypatch, 2, 3, 6)
    code, err = run("run.max_bad_steps=2")
    assert code == 2 and err.count("\n") == 1 and len(_warnings(caplog)) == 2
    assert re.search(r"step 6 skipped: loss nan on \d.mp4, \d.mp4; 3 steps were skipped, more than", err)
    assert "run.max_bad_steps=2 allows; look at these videos, lower optim.lr or set optim.clip_grad" in err
    assert (tmp_path / "run" / "resume_00000004.pt").exists()


def test_a_skipped_step_leaves_weights_and_moments():
    model = torch.nn.Linear(6, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    learner = Learner(model, optimizer, None, torch.amp.GradScaler("cpu", enabled=False))
    good = [Sample(0, 0, torch.ones(1, 6))]
    learner.step([good])
    before = copy.deepcopy(learner.state())
    for value in (float("nan"), float("inf"), -float("inf")):
        outcome = learner.step([good, [Sample(0, 0, torch.full((1, 6), value))]]).outcome()
        assert outcome.skipped and outcome.failed
    torch.testing.assert_close(learner.state(), before, rtol=0, atol=0)
    assert not learner.step([good]).outcome().skipped


def test_a_short_run_that_learnt_nothing_fails(run, tmp_path, monkeypatch):
    _poison(monkeypatch, *range(1, 6))
    code, err = run()
    assert code == 2 and err.count("\n") == 1
    assert "nothing was learnt: 5 of 8 steps were skipped, their loss or gradient was not finite; lower optim.lr" in err
    assert (tmp_path / "run" / "resume_00000008.pt").exists()
    assert run("run.resume=auto") == (2, err)


def test_a_loss_that_is_not_finite_at_the_end_fails(run, monkeypatch):
    _poison(monkeypatch, 8)
    code, err = run()
    assert code == 2 and "the training diverged: the loss of its last step is nan; lower optim.lr" in err


def test_every_evaluation_is_a_line(run, caplog):
    caplog.set_level(logging.INFO, "videoadapt")
    assert run()[0] == 0
    lines = [message for message in caplog.messages if message.startswith("epoch ")]
    assert len(lines) == 2
    assert re.fullmatch(r"epoch 1 of 2: loss \d\.\d{3}, validation top-1 \d+\.\d\d %", lines[0])
