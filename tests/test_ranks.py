"""Several ranks: one result, one error, and no rank that waits for ever. torchrun is the real one."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from chaos import Job, compare, free_port, train, write_problem
from conftest import TOOLS, tiny

from videoadapt.builders import build_model
from videoadapt.commands import common
from videoadapt.engine import distributed
from videoadapt.engine.checkpoint import read_checkpoint
from videoadapt.engine.shard import shard_frozen
from videoadapt.errors import PeerLost, UserError
from videoadapt.models.backbone import blocks_of

TRAIN = str(TOOLS / "train.py")


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A config, its folder, and what two ranks make of it when nobody disturbs them."""
    config = write_problem(tmp_path_factory.mktemp("ranks"))
    job = train(config, config.parent / "whole", 2)
    assert job.wait() == [0, 0], job.output()
    return config


def _torchrun(*arguments):
    """Begin it; its own time limit keeps a hang from hanging the suite."""
    command = ["timeout", "120", sys.executable, "-m", "torch.distributed.run", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _wait_for_lines(run, count, *launchers):
    while _lines(run) < count:
        time.sleep(0.05)
        for launcher in launchers:
            assert launcher.poll() is None, launcher.stdout.read()


def _lines(run: Path) -> int:
    with suppress(FileNotFoundError):
        return len((run / "metrics.jsonl").read_text().splitlines())
    return 0


def _workers(run: Path) -> list[int]:
    """The process numbers of the ranks that write there, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            variables = dict(entry.partition("=")[::2] for entry in path.read_text(errors="replace").split("\0"))
            command = (path.parent / "cmdline").read_text()
            if variables.get("RANK") and str(run) in command and "torch.distributed.run" not in command:
                found.setdefault(int(variables["RANK"]), []).append(int(path.parent.name))
    return [min(found[rank]) for rank in sorted(found)]


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_killed_rank_is_restarted_and_the_job_ends_right(problem, tmp_path, nodes):
    run, meeting = tmp_path / "run", f"--rdzv-endpoint=127.0.0.1:{free_port()}"
    place = ["--rdzv-backend=c10d", "--rdzv-id=7", meeting, f"--nnodes={nodes}", f"--nproc-per-node={2 // nodes}"]
    launchers = [_torchrun(*place, "--max-restarts=3", TRAIN, problem, f"run.out_dir={run}") for _ in range(nodes)]
    _wait_for_lines(run, 5, *launchers)
    os.kill(_workers(run)[1], signal.SIGKILL)
    outputs = [launcher.communicate()[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0] * nodes, outputs
    assert "".join(outputs).count("15,651 trainable") == 2
    compare(problem.parent / "whole", run)


def test_torchrun_passes_on_sigterm_and_the_ranks_stop_together(problem, tmp_path):
    run = tmp_path / "run"
    launcher = _torchrun("--standalone", "--nproc-per-node=2", TRAIN, problem, f"run.out_dir={run}")
    _wait_for_lines(run, 4, launcher)
    launcher.send_signal(signal.SIGTERM)
    output, _ = launcher.communicate()
    (step,) = set(re.findall(r"stopped by SIGTERM after step (\d+); run.resume=auto goes on", output))
    assert (run / f"resume_{int(step):08d}.pt").exists() and _lines(run) <= int(step)
    job = train(problem, run, 2)
    assert job.wait() == [0, 0], job.output()
    compare(problem.parent / "whole", run)


def test_the_error_of_the_rank_that_failed_comes_first_and_alone(problem, tmp_path):
    folder = problem.parent
    (folder / "broken.mp4").write_text("no video")
    lines = (folder / "list.csv").read_text().splitlines()
    (tmp_path / "list.csv").write_text("\n".join([*lines, "broken.mp4,1"]))
    launcher = _torchrun(
        "--standalone",
        "--nproc-per-node=2",
        TRAIN,
        problem,
        f"run.out_dir={tmp_path / 'run'}",
        f"data.train={tmp_path / 'list.csv'}",
    )
    output, _ = launcher.communicate()
    assert launcher.returncode == 1
    errors = [line for line in output.splitlines() if re.search("error:|Error|lost", line)]
    assert re.match(r"(rank 1: )?error: 1 of 13 training videos are unreadable", errors[0])
    assert "train.py" not in output.split("ChildFailedError")[0].replace(errors[0], "")  # no traceback of a rank
    assert output.count("lost the other ranks") == 0


def _impatient() -> None:
    common._LAUNCHER = 0.1


def test_a_rank_that_is_left_alone_says_so_in_one_line(problem, tmp_path):
    job = train(problem, tmp_path / "run", 2, prepare=_impatient)
    while _lines(tmp_path / "run") < 3:
        time.sleep(0.05)
    job.ranks[1].kill()
    assert job.wait(60) == [PeerLost.exit_code, -signal.SIGKILL]
    (line,) = [line for line in job.output().splitlines() if "lost the other ranks" in line]
    assert line.startswith("lost the other ranks (") and "Traceback" not in job.output()


def test_the_slurm_script_starts_ranks_by_the_commands_name(problem, tmp_path):
    """With programs that stand in for SLURM's: srun runs here, scontrol names this host."""
    (tmp_path / "srun").write_text('#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n')
    (tmp_path / "scontrol").write_text("#!/bin/bash\necho localhost\n")
    (tmp_path / "torchrun").write_text(f'#!/bin/bash\nexec {sys.executable} -m torch.distributed.run "$@"\n')
    for name in ("srun", "scontrol", "torchrun"):
        (tmp_path / name).chmod(0o755)
    slurm = {"JOB_NODELIST": "localhost", "NNODES": "1", "JOB_ID": str(free_port()), "RESTART_COUNT": "0"}
    environment = {**os.environ, **{f"SLURM_{key}": value for key, value in slurm.items()}, "RANKS_PER_NODE": "2"}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    command = ["bash", TOOLS / "train.sbatch", problem, f"run.out_dir={tmp_path / 'run'}", "optim.epochs=1"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert _lines(tmp_path / "run") == 3


def test_a_test_gives_the_same_bits_on_any_number_of_ranks(problem, tmp_path):
    checkpoint, stored, results = problem.parent / "whole" / "last.safetensors", [], []
    for ranks in (1, 2, 3, 5):
        out = tmp_path / str(ranks)
        overrides = [f"run.out_dir={out}", "test.views=2x2x3", "test.batch_size=3"]
        job = Job(["test", problem, "--checkpoint", checkpoint, *overrides], ranks, tmp_path / "output.txt")
        assert job.wait() == [0] * ranks, job.output()
        stored.append(np.load(out / "predictions.npz"))
        results.append(json.loads((out / "results.json").read_text()))
        results[-1]["config"]["run"].pop("out_dir")
        results[-1].pop("date")
    for arrays, result in zip(stored[1:], results[1:], strict=True):
        assert result == results[0]
        for key in ("index", "label", "scores"):
            np.testing.assert_array_equal(arrays[key], stored[0][key])


def test_what_a_rank_learns_is_the_global_batch(tmp_path):
    """Four videos a step: on one rank, on two, and on one that adds up two batches."""
    config, tensors = write_problem(tmp_path, epochs=1), []
    plain = ["model.dropout=0", "model.drop_path=0", "run.save_every=null", "run.eval_every=1", "data.flip=0"]
    for ranks, batch, accumulate in ((1, 4, 1), (2, 2, 1), (1, 2, 2)):
        out = tmp_path / f"{ranks}{batch}{accumulate}"
        job = train(config, out, ranks, *plain, f"optim.batch_size={batch}", f"optim.accumulate={accumulate}")
        assert job.wait() == [0] * ranks, job.output()
        tensors.append(read_checkpoint(out / "last.safetensors")[0])
    for other in tensors[1:]:
        for name, tensor in tensors[0].items():
            torch.testing.assert_close(other[name], tensor, rtol=0, atol=2e-3)  # Adam divides by small gradients


SHARD_MISTAKES = {
    "alone": (1, [], "run.shard: one process has nobody to share the backbone with"),
    "nothing frozen": (2, ["model.unfreeze=[all]"], "run.shard: there are no frozen parameters to share"),
}


@pytest.mark.parametrize("name", SHARD_MISTAKES)
def test_what_cannot_be_shared(problem, tmp_path, name):
    ranks, overrides, message = SHARD_MISTAKES[name]
    job = train(problem, tmp_path / "run", ranks, "run.shard=true", *overrides)
    assert job.wait() == [2] * ranks and message in job.output()


def test_a_shared_backbone_learns_the_same_bits(problem, tmp_path):
    overrides = ["run.activation_checkpointing=block", "optim.epochs=4"]
    for shard in ("false", "true"):
        job = train(problem, tmp_path / shard, 2, f"run.shard={shard}", *overrides)
        assert job.wait() == [0, 0], job.output()
    compare(tmp_path / "false", tmp_path / "true")


def _share(number, port, results):
    """What one of two ranks holds of a Swin and a ViT, in bytes of frozen blocks."""
    os.environ.update(RANK=str(number), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    ranks = distributed.start("cpu")
    swin = {"backbone": "swin_tiny_patch4_window7_224", "backbone_options": {"embed_dim": 24, "depths": [1, 1, 1, 1]}}
    for options in ({}, {**swin, "num_frames": None, "linears": {"space": {"qkv": {"kind": "lora"}}}}):
        model = build_model(tiny(**options))
        x = torch.rand(1, 3, 224, 224) if options else torch.rand(1, 3, 4, 32, 32)
        expected, blocks = model.eval()(x), blocks_of(model.backbone)
        whole = sum(p.numel() for block in blocks for p in block.parameters() if not p.requires_grad)
        model = shard_frozen(model, blocks, ranks)
        parts = [p.to_local() for p in model.parameters() if hasattr(p, "to_local")]
        results.put((whole, sum(part.numel() for part in parts), torch.equal(model(x), expected)))
    distributed.stop()


def test_each_rank_holds_half_of_the_blocks():
    context, port = multiprocessing.get_context("forkserver"), free_port()
    results = context.Queue()
    ranks = [context.Process(target=_share, args=(number, port, results)) for number in range(2)]
    for rank in ranks:
        rank.start()
    for whole, part, same in [results.get(timeout=100) for _ in range(4)]:
        assert abs(part / whole - 0.5) < 0.02 and same
    for rank in ranks:
        rank.join()


_WHOLE = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
ENVIRONMENTS = {  # and what is said of them; nothing where it is one process on its own
    "nothing": ({}, None),
    "WORLD_SIZE alone": ({"WORLD_SIZE": "4"}, None),
    "LOCAL_RANK alone": ({"LOCAL_RANK": "3"}, None),
    "an empty RANK": ({"RANK": "", "WORLD_SIZE": "4"}, None),
    "SLURM's": ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1"}, None),
    "RANK alone": ({"RANK": "0"}, "has RANK=0, but no WORLD_SIZE, MASTER_ADDR, MASTER_PORT; start ranks with torchrun"),
    "no address": ({"RANK": "1", "WORLD_SIZE": "2"}, "has RANK=1, but no MASTER_ADDR, MASTER_PORT; start ranks with"),
    "no number": ({**_WHOLE, "RANK": "first"}, "has RANK=first, which is no number"),
    "no port": ({**_WHOLE, "MASTER_PORT": "http"}, "has MASTER_PORT=http, which is no number"),
    "no local rank": ({**_WHOLE, "LOCAL_RANK": "-1"}, "has LOCAL_RANK=-1, which is no number"),
    "too high": ({**_WHOLE, "RANK": "1"}, "has RANK=1 of WORLD_SIZE=1; start ranks with torchrun, or unset RANK"),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_part_of_the_variables_of_ranks_is_told_or_means_nothing(name, monkeypatch, tool):
    variables, message = ENVIRONMENTS[name]
    for key in (*_WHOLE, "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(key, raising=False)
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    code, out, _ = tool("configs")
    assert code == 0 and out  # what needs no ranks does not look
    if message is None:
        assert distributed.start("cpu") == distributed.Ranks(torch.device("cpu"))
    else:
        with pytest.raises(UserError, match=message) as caught:
            distributed.start("cpu")
        assert str(caught.value).startswith("the environment has") and "\n" not in str(caught.value)


def test_one_rank_needs_no_group():
    tensor = torch.ones(3)
    distributed.average([tensor])
    assert distributed.gather(5) == [5] and distributed.from_main("x") == "x" and tensor.tolist() == [1, 1, 1]
