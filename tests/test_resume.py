"""A run that ends early, for whatever reason, goes on to the same bits, and says what is saved."""

import copy
import json
import logging
import multiprocessing
import os
import random
import re
import resource
import signal
import subprocess
import time
from functools import partial

import numpy as np
import pytest
import torch
from chaos import chaos, compare, train, write_problem

from videoadapt.data.datasets import Sample
from videoadapt.engine import learner
from videoadapt.engine.learner import Learner
from videoadapt.engine.log import RunLog
from videoadapt.signals import leave_signals_to_parent


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A config of two epochs of four steps, and the run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("problem")
    config = write_problem(folder, videos=8, epochs=2)
    job = train(config, folder / "whole", 1, "run.eval_every=1", "run.save_every=null")
    assert job.wait() == [0], job.output()
    return config, folder / "whole"


@pytest.fixture
def run(problem, tool, tmp_path):
    """Run it in this process: (exit code, stderr)."""

    def call(*overrides):
        every = ["run.eval_every=1", "run.save_every=null", "data.workers=0"]
        code, _, err = tool("train", problem[0], f"run.out_dir={tmp_path / 'run'}", *every, *overrides)
        lines = re.split(r"[\r\n]+", err)
        return code, "".join(f"{line}\n" for line in lines if line.strip() and "%|" not in line)

    return call


def _at_step(monkeypatch, number, act):
    """Have ``act`` done in the middle of a step; only the first time that it is taken."""
    step, calls = Learner.step, []

    def disturbed(self, *arguments, **keywords):
        calls.append(None)
        if len(calls) == number:
            act()
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(learner.Learner, "step", disturbed)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
@pytest.mark.parametrize(("step", "workers"), [(3, 0), (4, 1), (6, 1)])
def test_a_signal_ends_a_run_after_its_step(problem, run, tmp_path, monkeypatch, name, step, workers):
    _at_step(monkeypatch, step, partial(os.kill, os.getpid(), getattr(signal, name)))
    code, err = run(f"data.workers={workers}")
    assert code == 75 and err == f"stopped by {name} after step {step}; run.resume=auto goes on\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    states = {path.name for path in (tmp_path / "run").glob("resume_*")}
    assert f"resume_{step:08d}.pt" in states and len(states) <= 2
    assert run() == (0, "")
    compare(problem[1], tmp_path / "run")


def test_a_signal_ends_an_evaluation_at_once_since_all_is_saved(problem, run, tmp_path, monkeypatch):
    scores = []

    def evaluate(self, *arguments):
        scores.append(None)
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal should have ended this")

    with monkeypatch.context() as patch:
        patch.setattr("videoadapt.engine.evaluate.Evaluator.__call__", evaluate)
        assert run() == (75, "stopped by SIGTERM; run.resume=auto goes on\n")
    assert len(scores) == 1 and (tmp_path / "run" / "resume_00000004.pt").exists()
    assert run() == (0, "")
    compare(problem[1], tmp_path / "run")


def test_a_second_interrupt_is_obeyed_at_once(run, monkeypatch):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    _at_step(monkeypatch, 2, twice)
    assert run()[0] == 130


def _killed_at_sync(count):
    sync, calls = os.fsync, []

    def killing(descriptor):
        calls.append(None)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = killing


@pytest.mark.parametrize("count", [1, 4, 7, 9, 10, 20])
def test_a_kill_in_the_middle_of_a_write_loses_nothing(problem, tmp_path, count):
    overrides = ["run.eval_every=1", "run.save_every=null", "run.keep_last=1"]
    job = train(problem[0], tmp_path / "run", 1, *overrides, prepare=partial(_killed_at_sync, count))
    assert job.wait() == [-signal.SIGKILL], job.output()
    job = train(problem[0], tmp_path / "run", 1, *overrides)
    assert job.wait() == [0], job.output()
    compare(problem[1], tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").glob("resume_*")] == ["resume_00000008.pt"]


def test_three_kills_of_two_ranks(tmp_path):
    done, _, _ = chaos(tmp_path, kills=3, ranks=2, rng=random.Random(0))
    assert done == 3


DAMAGES = {"cut": lambda content: content[: len(content) // 2], "empty": lambda _: b"", "foreign": lambda _: b"x" * 999}


@pytest.mark.parametrize("damage", DAMAGES)
def test_behind_a_damaged_state_is_a_good_one(problem, run, tmp_path, damage, monkeypatch, caplog):
    _at_step(monkeypatch, 6, partial(os.kill, os.getpid(), signal.SIGTERM))
    assert run()[0] == 75
    _, newest = sorted((tmp_path / "run").glob("resume_*"))
    newest.write_bytes(DAMAGES[damage](newest.read_bytes()))
    code, _ = run()
    message = "\n".join(caplog.messages)
    assert code == 0 and "resume_00000006.pt: not a readable resume state" in message
    assert "resume_00000004.pt is good, going on from it" in message
    compare(problem[1], tmp_path / "run")


def test_with_no_good_state_nothing_is_touched(run, tmp_path):
    assert run("optim.epochs=2")[0] == 0
    for path in (tmp_path / "run").glob("resume_*"):
        path.write_bytes(b"junk")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    code, err = run()
    assert code == 2 and "resume_00000008.pt: not a readable resume state" in err and err.count("\n") == 1
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_finished_run_without_its_states_is_not_thrown_away(run, tmp_path):
    assert run()[0] == 0
    for path in (tmp_path / "run").glob("resume_*"):
        path.unlink()
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    code, err = run()
    assert code == 2 and "holds a run whose resume_*.pt are gone; run.resume=false run.overwrite=true" in err
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    assert run("run.resume=false", "run.overwrite=true") == (0, "")


def test_a_file_of_the_users_is_no_state(problem, run, tmp_path, monkeypatch):
    _at_step(monkeypatch, 3, partial(os.kill, os.getpid(), signal.SIGTERM))
    assert run()[0] == 75
    (tmp_path / "run" / "resume_9_backup.pt").write_text("mine")
    assert run() == (0, "")
    compare(problem[1], tmp_path / "run")
    assert (tmp_path / "run" / "resume_9_backup.pt").read_text() == "mine"


@pytest.mark.parametrize("override", ["run.seed=5", "run.precision=bf16", "optim.lr=1"])
def test_what_changes_the_numbers_cannot_change_on_the_way(run, monkeypatch, override):
    _at_step(monkeypatch, 3, partial(os.kill, os.getpid(), signal.SIGTERM))
    assert run()[0] == 75
    code, err = run(override)
    key, _, value = override.partition("=")
    assert code == 2 and f"the run began with {key}=" in err and f"now it is {value}" in err


def test_another_layout_is_refused(problem, run, tmp_path, monkeypatch):
    _at_step(monkeypatch, 2, partial(os.kill, os.getpid(), signal.SIGTERM))
    assert run()[0] == 75
    monkeypatch.setattr("videoadapt.data.loaders.TrainBatches.__len__", lambda self: 3)
    code, err = run()
    assert code == 2 and "resume_00000002.pt: its batches an epoch was 4, now it is 3" in err


# --- disks


@pytest.fixture
def file_limit():
    """Let no file grow beyond so many bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_too_little_room_is_found_at_start(run, tmp_path, file_limit):
    file_limit(5_000_000)
    code, err = run()
    assert code == 2 and "run.out_dir: cannot write 18 MB into" in err and err.count("\n") == 1
    assert not list((tmp_path / "run").iterdir())


def test_a_full_disk_destroys_nothing_and_a_line_names_what_is_good(problem, run, tmp_path, file_limit, monkeypatch):
    _at_step(monkeypatch, 7, partial(file_limit, 100_000))
    code, err = run("run.save_every=2")
    assert code == 2 and err.count("\n") == 1
    assert "run: cannot be written (File too large); " in err
    assert "resume_00000006.pt is whole: make room, then run.resume=true" in err
    file_limit(-1)
    assert run("run.resume=true") == (0, "")
    compare(problem[1], tmp_path / "run")


def test_the_state_that_is_called_good_is_not_the_damaged_one(run, tmp_path, file_limit, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        _at_step(patch, 6, partial(os.kill, os.getpid(), signal.SIGTERM))
        assert run()[0] == 75
    newest = tmp_path / "run" / "resume_00000006.pt"
    newest.write_bytes(newest.read_bytes()[:-500])
    _at_step(monkeypatch, 1, partial(file_limit, 100_000))
    code, err = run("run.save_every=1")
    assert code == 2 and "resume_00000004.pt is whole: make room" in err


# --- the log


def test_metrics_lines_are_json_and_tensorboard_events(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunLog(tmp_path) as log:
        log.write(3, 0.5, loss=1.25, lr=0.1)
        log.write(6, 1, loss=1.0, lr=0.1, top1=50.0)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[0] == {"step": 3, "epoch": 0.5, "loss": 1.25, "lr": 0.1} and lines[1]["top1"] == 50.0
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(3, 1.25), (6, 1.0)]


def test_a_resumed_log_forgets_what_came_after_its_step(tmp_path):
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.write(step, 0, loss=1.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # torn by a crash
    with RunLog(tmp_path, after=2) as log:
        log.write(3, 0, loss=2.0)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 1.0), (3, 2.0)]


# --- workers


def _suspend_worker(monkeypatch):
    """From the second step on, the worker stands still."""

    def suspend():
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGSTOP)

    _at_step(monkeypatch, 2, suspend)


def test_a_worker_that_hangs_is_named_with_its_videos(run, monkeypatch):
    _suspend_worker(monkeypatch)
    code, err = run("data.workers=1", "data.stall_limit=1")
    assert code == 2 and err.count("\n") == 1 and not multiprocessing.active_children()
    assert re.search(r"no video came for 1 s \(data.stall_limit\): reading hangs, at one of \d+.mp4, \d+.mp4 or", err)


def test_a_worker_that_is_killed_is_one_line(run, monkeypatch):
    _at_step(monkeypatch, 2, lambda: os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL))
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

    _at_step(monkeypatch, 3, lambda: send("TERM", os.getpid()))
    _at_step(monkeypatch, 1, to_workers)
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


# --- steps that are not finite


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
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


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
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    learner = Learner(model, optimizer, None, torch.amp.GradScaler("cpu", enabled=False))
    good = [Sample(0, 0, torch.ones(1, 6))]
    learner.step([good])
    before = copy.deepcopy(learner.state())
    for value in (float("nan"), float("inf"), -float("inf")):
        outcome = learner.step([good, [Sample(0, 0, torch.full((1, 6), value))]])
        assert outcome.skipped and outcome.failed
    torch.testing.assert_close(learner.state(), before, rtol=0, atol=0)
    assert not learner.step([good]).skipped
