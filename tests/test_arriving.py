"""Numbers that come from a device while the program goes on."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from videoadapt.engine import arriving, distributed
from videoadapt.engine.arriving import Arriving, wait_for
from videoadapt.errors import PeerLost
from videoadapt.signals import StopSignals


def never():
    return False


def test_the_numbers_are_those_of_the_moment():
    tensor = torch.tensor([1.0, -2.5, float("inf")], requires_grad=True)
    coming = Arriving(tensor)
    with torch.no_grad():
        tensor.zero_()
    assert coming.tolist() == [1.0, -2.5, float("inf")] == coming.tolist()


def test_signals_are_heard_while_it_waits():
    with StopSignals() as stop:
        threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGUSR1]).start()
        wait_for(lambda: stop.received is not None)
    assert stop.received == "SIGUSR1"


@pytest.mark.parametrize("hurry", [never, lambda: True])
def test_lost_ranks_end_the_wait(monkeypatch, hurry):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "patience", lambda: 60 if hurry() else 0.02)
    monkeypatch.setattr(arriving, "_LAST_WAIT", 0.02)
    with pytest.raises(PeerLost, match=r"lost the other ranks \(no answer after 0 s\)"):
        wait_for(never, hurry)


def test_what_nccl_finds_out_ends_the_wait_at_once(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "failure", lambda: "comm_error")
    with pytest.raises(PeerLost, match=r"lost the other ranks \(comm_error after 0 s\)"):
        wait_for(never)


def test_a_single_process_waits_for_its_device_as_long_as_it_takes(monkeypatch):
    monkeypatch.setattr(distributed, "patience", lambda: 0)
    end = time.monotonic() + 0.05
    wait_for(lambda: time.monotonic() > end, lambda: True)


STUCK = """
import threading, time
import torch.distributed as dist
from videoadapt.engine import arriving, distributed

class Event:
    def query(self): return {answer}

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
arriving._ROUND = arriving._GRACE = 0.05
distributed.patience = lambda: 0.05
arriving.guard.watch(Event())
threading.Event().wait(1.5)  # as a start that does not return
print("went on")
"""


@pytest.mark.parametrize(("answer", "code"), [(False, 3), (True, 0)])
def test_a_process_that_cannot_wait_itself_is_ended(answer, code):
    done = subprocess.run([sys.executable, "-c", STUCK.format(answer=answer)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert ("lost the other ranks (no answer after 0 s)" in done.stderr) == (code == 3)
    assert ("went on" in done.stdout) == (code == 0)
