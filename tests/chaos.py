"""Kill a training at random moments, resume it each time, compare: python tests/chaos.py [--kills 20] [--ranks 2]

The last tensors must equal those of a run that nobody disturbed bit for bit, and ``metrics.jsonl`` line for line, the
time spent waiting left out. Each attempt ends by SIGKILL to all ranks, or to one of them and to the others a little
later. Processes are forked from one that has imported torch, so that more of the time goes into what is to be killed.
"""

import argparse
import json
import multiprocessing
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import yaml
from conftest import encode
from safetensors.torch import load_file

_PRELOADED = ["videoadapt.builders", "torch.utils.tensorboard", "torch.distributed.fsdp"]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_PRELOADED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills, runs, seconds = chaos(Path(folder), args.kills, args.ranks, random.Random(args.seed))
    print(f"{kills} kills of {args.ranks} ranks in {runs} runs, {seconds:.0f} s: every run ended with the same bits")


def chaos(folder: Path, kills: int, ranks: int, rng: random.Random) -> tuple[int, int, float]:
    """Kill that often; how many kills, in how many runs, and how long it took. AssertionError if a run differs."""
    began = time.monotonic()
    config = write_problem(folder)
    job = train(config, folder / "whole", ranks)
    assert job.wait() == [0] * ranks, job.output()
    longest = time.monotonic() - began
    done = runs = 0
    while done < kills:
        runs, out_dir, finished = runs + 1, folder / f"run{runs}", False
        while not finished:
            job = train(config, out_dir, ranks)
            finished = job.wait(rng.uniform(0, longest / 2) if done < kills else None) is not None
            if finished:
                assert job.wait() == [0] * ranks, job.output()
            else:
                job.kill(rng)
                done += 1
        compare(folder / "whole", out_dir)
    return done, runs, time.monotonic() - began


def compare(one: Path, other: Path) -> None:
    """Two runs left the same."""
    for name in ("last.safetensors", "best.safetensors"):
        tensors, others = load_file(one / name), load_file(other / name)
        assert tensors.keys() == others.keys()
        for key, tensor in tensors.items():
            np.testing.assert_array_equal(tensor.numpy(), others[key].numpy(), f"{name}: {key}")
    lines, others = ([json.loads(line) for line in (run / "metrics.jsonl").open()] for run in (one, other))
    assert [line["step"] for line in others] == list(range(1, len(lines) + 1))
    for line in (*lines, *others):
        line.pop("data_wait", None)  # a time
    assert lines == others
    assert not list(other.glob(".*")), "drafts are left"


def write_problem(folder: Path, videos: int = 12, **optim: float) -> Path:
    """Short videos of three colours, their list, and a config with everything that is random."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(videos):
        frames = rng.integers(0, 200, (8, 64, 64, 3), dtype=np.uint8)
        frames[..., number % 3] += 50
        encode(folder / f"{number}.mp4", list(frames), "libx264", preset="ultrafast")
        lines.append(f"{number}.mp4,{number % 3}")
    (folder / "list.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    loki = {"kind": "loki", "widths": [4, 9, 4]}
    listed = {"train": str(folder / "list.csv"), "val": str(folder / "list.csv"), "root": str(folder)}
    config = {
        "model": {"num_frames": 2, "slots": {"time_out": loki, "mlp_side": loki}, "dropout": 0.3, "drop_path": 0.2},
        "data": {**listed, "num_classes": 3, "sampling": "segment", "workers": 1},
        "optim": {"epochs": 8, "batch_size": 2, "accumulate": 1, "lr": 1e-2, "clip_grad": 1.0, **optim},
        "run": {"device": "cpu", "threads": 1, "log_every": 1, "save_every": 2, "eval_every": 2, "resume": "auto"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml"


def train(config: Path, out_dir: Path, ranks: int, *overrides: str, prepare: Callable = int) -> "Job":
    """'videoadapt train', begun; ``prepare`` is called in each rank before it."""
    return Job(["train", config, f"run.out_dir={out_dir}", *overrides], ranks, config.parent / "output.txt", prepare)


class Job:
    """The ranks of one attempt at a program, each a process of its own, without a launcher."""

    def __init__(self, command: Sequence, ranks: int, log: Path, prepare: Callable = int) -> None:
        self.log = log
        self.log.write_text("")
        arguments = (list(map(str, command)), ranks, free_port(), str(log), prepare)
        self.ranks = [_context.Process(target=_rank, args=(number, *arguments)) for number in range(ranks)]
        for rank in self.ranks:
            rank.start()

    def wait(self, seconds: float | None = None) -> list[int] | None:
        """The exit codes, or None if they have not all ended by then."""
        end = None if seconds is None else time.monotonic() + seconds
        for rank in self.ranks:
            rank.join(None if end is None else max(end - time.monotonic(), 0))
        codes = [rank.exitcode for rank in self.ranks]
        return None if None in codes else codes

    def kill(self, rng: random.Random) -> None:
        """All at once, or one first."""
        pause = rng.choice([0, 0, 0.05, 0.3])
        for rank in rng.sample(self.ranks, len(self.ranks)):
            rank.kill()
            time.sleep(pause)
        self.wait()

    def output(self) -> str:
        return self.log.read_text()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _rank(number: int, command: list[str], world: int, port: int, log: str, prepare: Callable) -> None:
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 1)
    os.dup2(1, 2)
    if world > 1:
        place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        os.environ.update({key: str(value) for key, value in place.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    multiprocessing.set_start_method("fork", force=True)  # of the data workers, as in a process of its own
    prepare()
    from videoadapt.__main__ import main

    main(command)


if __name__ == "__main__":
    main()
