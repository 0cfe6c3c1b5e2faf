"""The training loop."""

import logging
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from videoadapt.engine import distributed
from videoadapt.engine.checkpoint import load_trainable, read_state, save_checkpoint, save_state, trainable_tensors
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.log import RunLog
from videoadapt.engine.precision import autocast
from videoadapt.errors import UserError

log = logging.getLogger(__name__)
STATE = "resume.pt"


@dataclass(frozen=True)
class Recipe:
    """The numbers of a run that the loop itself needs."""

    epochs: int
    accumulate: int = 1
    clip_grad: float | None = None
    label_smoothing: float = 0.0
    precision: str = "fp32"
    eval_every: int = 1
    log_every: int = 20
    max_bad_share: float = 0.01
    seed: int = 0


@dataclass
class Progress:
    """Where a run stands between two epochs."""

    step: int = 0
    epoch: int = 0
    best_top1: float = -1.0


def train(
    model: nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    scaler: torch.amp.GradScaler,
    *,
    recipe: Recipe,
    ranks: Ranks,
    out_dir: Path,
    evaluate: Callable[[nn.Module], dict[str, float]],
    about: dict[str, Any],
    resume: bool = False,
) -> Progress:
    """Train ``model`` and keep ``out_dir`` up to date: last and best checkpoint, metrics, resume state.

    Args:
        loader: yields lists of ``Sample``; its batch sampler has an ``epoch`` to set.
        schedule: ``step_update(step)`` sets the optimizer's learning rate.
        scaler: of the loss, for fp16.
        evaluate: gives ``top1`` and more scalars of a model to log; called on every rank.
        about: facts that every checkpoint carries.
        resume: go on from ``out_dir``'s resume state.
    """
    progress = _restore(out_dir / STATE, model, optimizer, scaler) if resume else Progress()
    replica = DistributedDataParallel(model, broadcast_buffers=False) if ranks.world > 1 else model
    steps = len(loader) // recipe.accumulate
    if progress.step != progress.epoch * steps:
        raise UserError(f"{out_dir / STATE}: made with other steps an epoch than {steps}; resume with as many ranks")
    health = _Health(len(loader.dataset), recipe.max_bad_share)
    with (
        RunLog(out_dir, ranks.is_main, after=progress.step) as run_log,
        _bar(recipe.epochs * steps, progress.step, ranks.is_main) as bar,
    ):
        while progress.epoch < recipe.epochs:
            torch.manual_seed(hash((recipe.seed, progress.epoch, ranks.rank)))  # dropout and drop-path
            loader.batch_sampler.epoch = progress.epoch
            model.train()
            for batches in zip(*[iter(loader)] * recipe.accumulate, strict=False):
                health.check(batches)
                schedule.step_update(progress.step)
                loss = train_step(replica, batches, optimizer, scaler, recipe, ranks.device)
                progress.step += 1
                bar.update()
                if progress.step % recipe.log_every == 0 or progress.step % steps == 0:
                    record = {"loss": _finite(loss, progress.step), "lr": optimizer.param_groups[0]["lr"]}
                    bar.set_postfix(epoch=progress.epoch + 1, loss=f"{record['loss']:.3f}", refresh=False)
                    if progress.step % steps:
                        run_log.write(progress.step, progress.step / steps, **record)
            progress.epoch += 1
            health.share()
            if progress.epoch % recipe.eval_every == 0 or progress.epoch == recipe.epochs:
                record |= evaluate(model)
            run_log.write(progress.step, progress.epoch, **record)
            if ranks.is_main:
                _save(out_dir, model, optimizer, scaler, progress, about, record.get("top1"))
    return progress


def train_step(
    replica: nn.Module,
    batches: Sequence[list],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    recipe: Recipe,
    device: torch.device,
) -> Tensor:
    """One optimizer step over ``batches`` (gradients accumulate); returns the mean loss, still on the device."""
    total = torch.zeros((), device=device)
    for number, samples in enumerate(batches, start=1):
        clips = torch.cat([sample.views for sample in samples]).to(device, non_blocking=True)
        labels = torch.tensor([sample.label for sample in samples], device=device)
        alone = number < len(batches) and isinstance(replica, DistributedDataParallel)
        with replica.no_sync() if alone else nullcontext():
            with autocast(device, recipe.precision):
                logits = replica(clips)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing) / len(batches)
            scaler.scale(loss).backward()
        total += loss.detach()
    if recipe.clip_grad is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_([p for p in replica.parameters() if p.requires_grad], recipe.clip_grad)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return total


def _bar(total: int, done: int, enabled: bool) -> tqdm:
    """A progress bar that does not flood a log file."""
    seconds = 0.2 if sys.stderr.isatty() else 15
    return tqdm(total=total, initial=done, disable=not enabled, mininterval=seconds, unit="step")


class _Health:
    """Names every unreadable video once, and stops a run that has too many."""

    def __init__(self, num_videos: int, max_share: float) -> None:
        self.num_videos, self.max_share = num_videos, max_share
        self.unreadable: set[str] = set()

    def check(self, batches: Sequence[list]) -> None:
        for sample in (sample for batch in batches for sample in batch):
            for message in set(sample.unreadable) - self.unreadable:
                self.unreadable.add(message)
                log.warning("unreadable, replaced by another video: %s", message)
            if sample.views is None or len(self.unreadable) > self.max_share * self.num_videos:
                self._stop(sample.unreadable[-1])

    def share(self) -> None:
        """Count what any rank met."""
        self.unreadable = set().union(*distributed.gather(self.unreadable))
        if len(self.unreadable) > self.max_share * self.num_videos:
            self._stop(min(self.unreadable))

    def _stop(self, message: str) -> NoReturn:
        raise UserError(
            f"{len(self.unreadable)} of {self.num_videos} training videos are unreadable, more than "
            f"data.max_bad_share={self.max_share:g} allows; tools/check_videos.py finds them all; e.g. {message}"
        )


def _finite(loss: Tensor, step: int) -> float:
    value = distributed.mean(loss)
    if not math.isfinite(value):
        raise UserError(f"the loss is {value} at step {step}; lower optim.lr or set optim.clip_grad")
    return value


def _save(
    out_dir: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    progress: Progress,
    about: dict[str, Any],
    top1: float | None,
) -> None:
    tensors = trainable_tensors(model)
    about = {**about, "step": progress.step, "epoch": progress.epoch, "top1": top1}
    if top1 is not None and top1 > progress.best_top1:
        progress.best_top1 = top1
        save_checkpoint(out_dir / "best.safetensors", tensors, about)
    save_checkpoint(out_dir / "last.safetensors", tensors, about)
    state = {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict(), "tensors": tensors}
    save_state(out_dir / STATE, {**state, "progress": asdict(progress)})


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> Progress:
    state = read_state(path)
    load_trainable(model, state["tensors"], path)
    optimizer.load_state_dict(state["optimizer"])
    scaler.load_state_dict(state["scaler"])
    return Progress(**state["progress"])
