"""Which rank reads which video when, and the loaders that do it."""

from collections.abc import Iterator, Sequence
from typing import Any

import joblib
import torch
from torch.utils.data import DataLoader, Sampler

from videoadapt.data.datasets import Sample, TestVideos, TrainVideos
from videoadapt.errors import UserError
from videoadapt.signals import Stalled, alarm, held, leave_signals_to_parent

_NAMED = 16  # videos in a message


class TrainBatches(Sampler):
    """Batches of (epoch, index) keys for one rank; ``seek`` says where to begin.

    The permutation follows from (seed, epoch). Step i takes its ``batch_size * world`` videos and rank r every
    ``world``-th of them, so the global batch does not depend on how many ranks share it. The remainder of an epoch
    is left out, another one each epoch.
    """

    def __init__(self, num_videos: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.num_videos, self.batch_size, self.seed, self.rank, self.world = num_videos, batch_size, seed, rank, world
        self.seek(0)

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Iterate from this batch of this epoch on."""
        self.epoch, self.first = epoch, batch

    def __len__(self) -> int:
        return self.num_videos // (self.batch_size * self.world)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.num_videos, generator=generator)
        share = self.batch_size * self.world
        for step in range(self.first, len(self)):
            mine = order[step * share : (step + 1) * share][self.rank :: self.world]
            yield [(self.epoch, index) for index in mine.tolist()]


def cores(ranks: int = 1) -> int:
    """Those that one of so many ranks may use; affinity masks and container quotas count."""
    return max(joblib.cpu_count() // ranks, 1)


def auto_workers(ranks: int = 1) -> int:
    """One process for each core that this rank may use, at most 16: beyond, memory fills faster than the device.

    Each process decodes with one thread.
    """
    return min(cores(ranks), 16)


class Loader(DataLoader):
    """A DataLoader that names the videos it waited for when a worker hangs, and makes one line of a worker's error.

    Args:
        stall_limit: seconds to wait for a batch; DataLoader's own ``timeout`` does not cover every wait.
    """

    dataset: TrainVideos | TestVideos

    def __init__(self, *args: Any, stall_limit: float | None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.stall_limit = stall_limit

    def __iter__(self) -> Iterator:  # type: ignore[override]  # DataLoader names its own class
        batches = None
        for keys in self.sampler if self.batch_sampler is None else self.batch_sampler:
            try:
                with alarm(self.stall_limit):
                    if batches is None:
                        with held():
                            batches = super().__iter__()  # begins the workers, or waits for what an epoch left in them
                    batch = next(batches)
            except UserError as error:  # in a worker, whose traceback came with it
                raise UserError(str(error).rsplit("Error: ", 1)[-1]) from None
            except Stalled:
                why = f"no video came for {self.stall_limit:g} s (data.stall_limit): reading hangs"
                raise UserError(f"{why}{self._where(keys)}; take it off the list, or raise the limit") from None
            except RuntimeError as error:
                if not str(error).startswith("DataLoader worker"):
                    raise
                why = str(error).splitlines()[0].rstrip(". ")
                remedy = "a decoder crashed there, or memory is short: lower data.workers"
                raise UserError(f"{why}{self._where(keys)}; {remedy}") from None
            yield batch

    def _where(self, keys: int | list[tuple[int, int]]) -> str:
        indices = [keys] if isinstance(keys, int) else [index for _, index in keys]
        names = [self.dataset.records[index].path for index in indices[:_NAMED]]
        return f", at one of {', '.join(names)} or soon after"


def train_loader(
    videos: TrainVideos, batches: TrainBatches, workers: int, stall_limit: float | None = None, prefetch: int = 2
) -> Loader:
    """Lists of ``Sample``s in the order of ``batches``; UserError if none comes for ``stall_limit`` seconds.

    Args:
        prefetch: batches that each worker reads ahead; without workers nothing is read ahead.
    """
    options = _workers(workers, prefetch, persistent=True)
    return Loader(videos, batch_sampler=batches, collate_fn=_as_list, stall_limit=stall_limit, **options)


def test_loader(
    videos: TestVideos,
    workers: int,
    rank: int = 0,
    world: int = 1,
    group: int = 1,
    stall_limit: float | None = None,
    prefetch: int = 2,
    persistent: bool = False,
) -> Loader:
    """One ``TestSample`` at a time, each video exactly once: every ``world``-th group of neighbours, from ``rank``.

    Groups stay together, so that what is computed in one batch does not depend on the number of ranks.

    Args:
        prefetch: videos that each worker reads ahead.
        persistent: the workers stay after a pass and remember what they have read; else each pass begins new ones.
    """
    firsts = range(rank * group, len(videos), world * group)
    mine = [index for first in firsts for index in range(first, min(first + group, len(videos)))]
    options = _workers(workers, prefetch, persistent)
    return Loader(videos, sampler=mine, batch_size=None, stall_limit=stall_limit, **options)


def _workers(count: int, prefetch: int, persistent: bool) -> dict:
    pinned = torch.cuda.is_available()
    generator = torch.Generator()  # the loader's own draws leave the global generator, and so resuming, alone
    return {
        "num_workers": count,
        "persistent_workers": persistent and count > 0,
        "prefetch_factor": prefetch if count else None,
        "pin_memory": pinned,
        "generator": generator,
        "worker_init_fn": leave_signals_to_parent,
    }


def _as_list(samples: Sequence[Sample]) -> list[Sample]:
    return list(samples)
