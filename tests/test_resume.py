"""A run that ends early, for whatever reason, goes on to the same bits, and says what is saved."""

import json
import os
import random
import resource
import signal
from functools import partial

import pytest
import torch
from chaos import chaos, compare, train
from conftest import at_step

from videoadapt.engine.log import RunLog


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
@pytest.mark.parametrize(("step", "workers"), [(3, 0), (4, 1), (6, 1)])
def test_a_signal_ends_a_run_after_its_step(problem, run, tmp_path, monkeypatch, name, step, workers):
    at_step(monkeypatch, step, partial(os.kill, os.getpid(), getattr(signal, name)))
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

    at_step(monkeypatch, 2, twice)
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
    at_step(monkeypatch, 6, partial(os.kill, os.getpid(), signal.SIGTERM))
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
    at_step(monkeypatch, 3, partial(os.kill, os.getpid(), signal.SIGTERM))
    assert run()[0] == 75
    (tmp_path / "run" / "resume_9_backup.pt").write_text("mine")
    assert run() == (0, "")
    compare(problem[1], tmp_path / "run")
    assert (tmp_path / "run" / "resume_9_backup.pt").read_text() == "mine"


def test_clips_made_on_the_device_are_those_of_the_workers_before_and_after_a_stop(problem, run, tmp_path, monkeypatch):
    at_step(monkeypatch, 3, partial(os.kill, os.getpid(), signal.SIGTERM))
    assert run("data.augment_on=device", "data.prefetch=3", "data.workers=1")[0] == 75
    code, err = run()
    assert code == 2 and "the run began with data.augment_on=device, now it is worker" in err
    assert run("data.augment_on=device") == (0, "")
    compare(problem[1], tmp_path / "run")


@pytest.mark.parametrize("override", ["run.seed=5", "run.precision=bf16", "run.tf32=True", "optim.lr=1"])
def test_what_changes_the_numbers_cannot_change_on_the_way(run, monkeypatch, override):
    at_step(monkeypatch, 3, partial(os.kill, os.getpid(), signal.SIGTERM))
    assert run()[0] == 75
    code, err = run(override)
    key, _, value = override.partition("=")
    assert code == 2 and f"the run began with {key}=" in err and f"now it is {value}" in err


def test_another_layout_is_refused(problem, run, tmp_path, monkeypatch):
    at_step(monkeypatch, 2, partial(os.kill, os.getpid(), signal.SIGTERM))
    assert run()[0] == 75
    monkeypatch.setattr("videoadapt.data.loaders.TrainBatches.__len__", lambda self: 3)
    code, err = run()
    assert code == 2 and "resume_00000002.pt: its batches an epoch was 4, now it is 3" in err


CHANGES = {  # of a list that stays as long as it is
    "a label": lambda lines: [*lines[:-1], f"{lines[-1][:-1]}{(int(lines[-1][-1]) + 1) % 3}"],
    "the order": lambda lines: [lines[1], lines[0], *lines[2:]],
    "a path": lambda lines: [f"{lines[1][:-1]}{lines[0][-1]}", *lines[1:]],
}


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_list_that_has_changed_is_refused_though_it_is_as_long(problem, run, tmp_path, monkeypatch, split):
    header, *lines = (problem[0].parent / "list.csv").read_text().splitlines()
    path = tmp_path / "list.csv"
    path.write_text("\n".join([header, *lines]))
    with monkeypatch.context() as patch:
        at_step(patch, 2, partial(os.kill, os.getpid(), signal.SIGTERM))
        assert run(f"data.{split}={path}")[0] == 75
    for changed in CHANGES.values():
        path.write_text("\n".join([header, *changed(lines)]))
        code, err = run(f"data.{split}={path}")
        told = (
            f"resume_00000002.pt: data.{split} had other paths or labels, or another order of them, when the run began"
        )
        assert code == 2 and err.count("\n") == 1 and told in err
    path.write_text("".join(f"{line.replace(',', ' ')}\r\n" for line in lines))  # the same in another form
    assert run(f"data.{split}={path}") == (0, "")


def test_a_state_from_before_lists_had_fingerprints_is_gone_on_from(problem, run, tmp_path, monkeypatch):
    at_step(monkeypatch, 3, partial(os.kill, os.getpid(), signal.SIGTERM))
    assert run()[0] == 75
    (path,) = (tmp_path / "run").glob("resume_*")
    state = torch.load(path, weights_only=True)
    del state["lists"]
    torch.save(state, path)
    assert run() == (0, "")
    compare(problem[1], tmp_path / "run")


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
    at_step(monkeypatch, 7, partial(file_limit, 100_000))
    code, err = run("run.save_every=2")
    assert code == 2 and err.count("\n") == 1
    assert "run: cannot be written (File too large); " in err
    assert "resume_00000006.pt is whole: make room, then run.resume=true" in err
    file_limit(-1)
    assert run("run.resume=true") == (0, "")
    compare(problem[1], tmp_path / "run")


def test_the_state_that_is_called_good_is_not_the_damaged_one(run, tmp_path, file_limit, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        at_step(patch, 6, partial(os.kill, os.getpid(), signal.SIGTERM))
        assert run()[0] == 75
    newest = tmp_path / "run" / "resume_00000006.pt"
    newest.write_bytes(newest.read_bytes()[:-500])
    at_step(monkeypatch, 1, partial(file_limit, 100_000))
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
