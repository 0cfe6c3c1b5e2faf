"""Numbers that come from a device while the program goes on."""

import os
import signal
import threading
import time
from datetime import timedelta

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
    monkeypatch.setitem(distributed.PATIENCE, "nccl", timedelta(seconds=60 if hurry() else 0.02))
    monkeypatch.setattr(arriving, "_LAST_WAIT", 0.02)
    with pytest.raises(PeerLost, match="lost the other ranks .no answer for 0 s"):
        wait_for(never, hurry)


def test_a_single_process_waits_for_its_device_as_long_as_it_takes(monkeypatch):
    monkeypatch.setitem(distributed.PATIENCE, "nccl", timedelta(0))
    end = time.monotonic() + 0.05
    wait_for(lambda: time.monotonic() > end, lambda: True)
