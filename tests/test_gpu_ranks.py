"""Ranks of GPUs, without a GPU: which one each takes, how long it waits for the others, and how it leaves."""

from types import SimpleNamespace

import pytest
import torch

from videoadapt.commands import common
from videoadapt.engine import distributed
from videoadapt.errors import PeerLost, UserError

GPUS = {  # of a machine: how many a rank sees, its place there, and the number of its GPU
    "each rank sees all": (4, 3, 3),
    "each rank sees its own": (1, 3, 0),
    "one rank too many": (2, 2, "run.device: no GPU 2, torch sees 2; start as many ranks as GPUs"),
}


@pytest.mark.parametrize("name", GPUS)
def test_a_rank_takes_its_own_gpu(name, monkeypatch):
    count, place, found = GPUS[name]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if isinstance(found, int):
        assert distributed._gpu_of(place) == found
        return
    with pytest.raises(UserError, match=found):
        distributed._gpu_of(place)


@pytest.mark.parametrize(("slowest", "minutes"), [(0.0, 10), (600.0, 11), (None, 60)])
def test_ranks_of_gpus_wait_longer_than_the_slowest_video_and_nccl_longest(monkeypatch, slowest, minutes):
    about, made = SimpleNamespace(uuid="GPU-1"), []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: about)
    monkeypatch.setattr(distributed, "_peers", distributed._Peers())
    monkeypatch.setattr(torch.distributed, "new_group", lambda **options: made.append(options))
    monkeypatch.setattr(distributed, "gather", lambda mine: [mine, (mine[0], "GPU-2"), ("other", "GPU-1")])
    distributed._join_gpus(torch.device("cuda", 0), slowest)
    (group,) = made
    assert distributed.patience() == 60 * minutes < group["timeout"].total_seconds() and group["backend"] == "nccl"
    monkeypatch.setattr(distributed, "gather", lambda mine: [("other", "GPU-1"), mine, mine])
    with pytest.raises(UserError, match="ranks 1 and 2 have the same GPU of .*; start as many ranks as GPUs"):
        distributed._join_gpus(torch.device("cuda", 0), slowest)


class Left(BaseException):
    """At once, without anything of Python's way out."""


@pytest.mark.parametrize(("in_use", "way"), [(True, Left), (False, SystemExit)])
def test_a_rank_whose_gpu_waits_for_lost_ranks_leaves_at_once(monkeypatch, capsys, in_use, way):
    def leave(code):
        raise Left(code)

    def lose():
        raise PeerLost("lost the other ranks (no answer after 600 s)")

    monkeypatch.setattr(common, "_LAUNCHER", 0)
    monkeypatch.setattr(common.os, "_exit", leave)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: in_use)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(way) as left:
        common.guarded(lose)
    assert left.value.args == (3,)
    assert capsys.readouterr().err == "rank 1: lost the other ranks (no answer after 600 s)\n"
