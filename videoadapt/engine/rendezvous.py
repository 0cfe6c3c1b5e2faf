"""Meeting the other ranks, also after torchrun has restarted them."""

import os
import secrets
import time
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]  # documented, not exported

_POLL = 0.02  # seconds


def join(backend: str, timeout: timedelta) -> None:
    """``init_process_group`` of what the environment says."""
    store, rank, world = next(rendezvous("env://", timeout=timeout))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        store = PrefixStore(_attempt(store, rank, world), store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)


def _attempt(store: Store, rank: int, world: int) -> str:
    """A name of this attempt, new and known to all its ranks.

    torchrun's store outlives a restart, and gloo would look for the ranks of the attempt before where they were. The
    number of restarts is no name: nodes count them differently. So the first rank makes one up, and answers to
    whoever asks, until all have said that they got it; a question is a word that no earlier attempt can have used.
    """
    word = secrets.token_hex(8)
    if rank > 0:
        store.set(f"attempt/question/{rank}", word)
        name = store.get(f"attempt/answer/{word}").decode()
        store.add(f"attempt/known/{name}", 1)
        return name
    answered = set()
    while store.add(f"attempt/known/{word}", 0) < world - 1:
        for other in range(1, world):
            if store.check([f"attempt/question/{other}"]):
                question = store.get(f"attempt/question/{other}").decode()
                if question not in answered:
                    store.set(f"attempt/answer/{question}", word)
                    answered.add(question)
        time.sleep(_POLL)
    return word
