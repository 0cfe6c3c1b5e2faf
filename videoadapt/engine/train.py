"""The training loop."""

import logging
import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from tqdm import tqdm

from videoadapt.engine.distributed import Ranks, peers
from videoadapt.engine.folder import Progress, RunFolder
from videoadapt.engine.health import Health, memory_advice
from videoadapt.engine.learner import Learner, Outcome, Underway
from videoadapt.engine.log import RunLog
from videoadapt.engine.shard import gathered
from videoadapt.engine.waiting import Waiting
from videoadapt.errors import Interrupted
from videoadapt.signals import StopSignals

log = logging.getLogger(__name__)
_LESS_MEMORY = (
    "lower optim.batch_size and raise optim.accumulate as much, or set run.activation_checkpointing=block, "
    "run.precision=bf16 or run.shard=true under torchrun"
)


@dataclass(frozen=True)
class Recipe:
    """The numbers of a run that the loop itself needs."""

    epochs: int
    accumulate: int = 1
    eval_every: int = 1  # epochs
    save_every: int | None = None  # steps, beside the end of every epoch
    log_every: int = 20  # steps
    max_bad_share: float = 0.01  # of unreadable videos
    max_bad_steps: int = 10
    seed: int = 0

    def is_saved(self, step: int, steps: int, evaluates: bool) -> bool:
        """Whether the state is saved after ``step``, with ``steps`` in an epoch that ends with an evaluation or not."""
        by_turn = self.save_every is not None and step % self.save_every == 0
        return by_turn or (evaluates and step % steps == 0)


class Loader(Protocol):
    """A DataLoader as ``train`` wants it: its data set has a length, its batches begin where they are told to."""

    dataset: Any
    batch_sampler: Any

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list]: ...


def train(
    learner: Learner,
    loader: Loader,
    folder: RunFolder,
    *,
    recipe: Recipe,
    ranks: Ranks,
    evaluate: Callable[[nn.Module], dict[str, float]],
    resume: bool = False,
    data_remedy: str | None = None,
) -> Progress:
    """Train, and keep ``folder`` up to date; a run that ends early goes on from there to the same bits.

    Args:
        loader: yields lists of ``Sample``; ``loader.batch_sampler.seek(epoch, batch)`` says where it begins.
        evaluate: gives ``top1`` and more scalars of a model to log; called on every rank.
        resume: go on from the folder's newest state.
        data_remedy: what would make data come faster, for a training that waits for them.

    Raises Interrupted when a signal asked for it, with everything saved.
    """
    progress = folder.restore(learner) if resume else Progress()
    steps = len(loader) // recipe.accumulate
    health = Health(progress, len(loader.dataset), recipe.max_bad_share, recipe.max_bad_steps)
    waiting = Waiting(data_remedy)
    with (
        RunLog(folder.path, ranks.is_main, after=progress.logged) as run_log,
        _bar(recipe.epochs * steps, progress.step, ranks.is_main) as bar,
        StopSignals() as stop,
        memory_advice(_LESS_MEMORY),
        peers(),
    ):
        while progress.epoch < recipe.epochs:
            due = (progress.epoch + 1) % recipe.eval_every == 0 or progress.epoch + 1 == recipe.epochs
            for done in _epoch(learner, loader, progress, health, stop, recipe, ranks, waiting):
                _note(done, progress, steps, recipe.log_every, run_log, bar, waiting)
                if done.outcome.stop or recipe.is_saved(done.step, steps, due):
                    health.share()
                    folder.save(learner, progress)
                if done.outcome.stop:
                    what = stop.received or "a signal to another rank"
                    raise Interrupted(f"stopped by {what} after step {progress.step}; run.resume=auto goes on")
            scores = {}
            if due:
                with stop.at_once(), gathered(learner.model):  # all is saved
                    scores = evaluate(learner.model)
            progress.epoch += 1
            if scores and ranks.is_main:
                _tell(progress, recipe.epochs, scores, bar)
            run_log.write(progress.step, progress.epoch, **progress.record, **scores)
            progress.logged = progress.step
            health.share()
            folder.save(learner, progress, scores.get("top1"))
    health.check_learnt()
    return progress


class _Step(NamedTuple):
    """A step that was begun."""

    number: int
    lr: float
    paths: list[str]  # of its videos
    underway: Underway


class _Done(NamedTuple):
    """A step whose outcome is known."""

    step: int
    lr: float
    outcome: Outcome


def _epoch(
    learner: Learner,
    loader: Loader,
    progress: Progress,
    health: Health,
    stop: StopSignals,
    recipe: Recipe,
    ranks: Ranks,
    waiting: Waiting,
) -> Iterator[_Done]:
    """The steps of an epoch that are still to do.

    A GPU works on a step while the next one is begun: there the outcome is asked for one step late. Wherever the state
    may be saved, which is at the same steps on all ranks, no step is underway.
    """
    steps = len(loader) // recipe.accumulate
    first = progress.step - progress.epoch * steps
    loader.batch_sampler.seek(progress.epoch, first * recipe.accumulate)
    learner.model.train()
    underway: deque[_Step] = deque()
    late = _lateness(ranks)
    grouped = zip(*[iter(loader)] * recipe.accumulate, strict=False)
    for batches in islice(waiting.over(grouped), steps - first):
        health.check_videos(batches)
        torch.manual_seed(hash((recipe.seed, progress.step, ranks.rank)))  # dropout and drop-path
        learner.schedule.step_update(progress.step)
        progress.step += 1
        paths = [sample.path for batch in batches for sample in batch]
        step = learner.step(batches, lambda: stop.received is not None)
        underway.append(_Step(progress.step, learner.lr, paths, step))
        most, stops = (0 if recipe.is_saved(progress.step, steps, evaluates=True) else late), False
        while len(underway) > (0 if stops else most):
            done = _finished(underway.popleft(), health, stop)
            stops = stops or done.outcome.stop
            yield done._replace(outcome=done.outcome._replace(stop=stops and not underway))


def _lateness(ranks: Ranks) -> int:
    """How many steps are underway while the next is begun; only a GPU works on its own."""
    return 1 if ranks.device.type == "cuda" else 0


def _finished(step: _Step, health: Health, stop: StopSignals) -> _Done:
    # Whoever sends SIGTERM kills soon; SIGUSR1 comes in good time.
    outcome = step.underway.outcome(lambda: stop.received not in (None, "SIGUSR1"))
    health.check_step(step.number, outcome, step.paths)
    return _Done(step.number, step.lr, outcome)


def _note(
    done: _Done, progress: Progress, steps: int, every: int, run_log: RunLog, bar: tqdm, waiting: Waiting
) -> None:
    """Log a step, if its turn has come; the last of an epoch is logged with the evaluation."""
    bar.update()
    outcome, ends = done.outcome, done.step % steps == 0
    if not ends and done.step % every and not outcome.skipped:
        return
    share = waiting.share()
    progress.record = {"loss": outcome.loss, "lr": done.lr, "grad_norm": outcome.grad_norm, "data_wait": share}
    if progress.failed_steps:
        progress.record["skipped_steps"] = progress.failed_steps
    shown = {"loss": f"{outcome.loss:.3f}", "data_wait": f"{share:.0%}"}
    bar.set_postfix(epoch=progress.epoch + 1, **shown, refresh=False)
    if not ends:
        run_log.write(done.step, done.step / steps, **progress.record)
        progress.logged = done.step


def _tell(progress: Progress, epochs: int, scores: Mapping[str, float], bar: tqdm) -> None:
    """The line of an evaluation, below what the bar has drawn."""
    bar.clear()
    loss = progress.record.get("loss", math.nan)
    log.info("epoch %d of %d: loss %.3f, validation top-1 %.2f %%", progress.epoch, epochs, loss, scores["top1"])


def _bar(total: int, done: int, enabled: bool) -> tqdm:
    """A progress bar that does not flood a log file."""
    seconds = 0.2 if sys.stderr.isatty() else 15
    return tqdm(total=total, initial=done, disable=not enabled, mininterval=seconds, unit="step")
