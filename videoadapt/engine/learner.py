"""What learns: a model, and what moves it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt.engine import distributed
from videoadapt.engine.checkpoint import load_trainable, trainable_tensors
from videoadapt.engine.precision import autocast
from videoadapt.errors import UserError


class Outcome(NamedTuple):
    """Of one optimizer step, the same on every rank."""

    loss: float  # mean over the global batch
    grad_norm: float  # before clipping
    skipped: bool  # loss or gradient was not finite, and nothing was changed
    failed: bool  # skipped, and not because fp16 looks for its loss scale
    stop: bool  # some rank wants to stop


@dataclass(frozen=True)
class Learner:
    """A model with its optimizer.

    Args:
        schedule: ``step_update(step)`` sets the optimizer's learning rate.
        scaler: of the loss, for fp16.
        clip_grad: bound of the gradient's norm.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Any
    scaler: torch.amp.GradScaler
    precision: str = "fp32"
    clip_grad: float | None = None
    label_smoothing: float = 0.0

    @property
    def lr(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def step(self, batches: Sequence[list], stopping: Callable[[], bool] = lambda: False) -> Outcome:
        """One step over ``batches`` of ``Sample``s, whose gradients add up; a wish to stop is told to every rank."""
        total = sum(self._backward(samples, len(batches)) for samples in batches)
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        wish = torch.tensor(float(stopping()), device=total.device)
        distributed.average([*(p.grad for p in trainable if p.grad is not None), total, wish])
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(trainable, self.clip_grad or math.inf)
        loss, grad_norm, wish = torch.stack([total, norm, wish]).tolist()  # the one moment to wait for the device
        skipped = not (math.isfinite(loss) and math.isfinite(grad_norm))
        searching = self.scaler.is_enabled() and math.isfinite(loss) and self.scaler.get_scale() > 1
        if not skipped:
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return Outcome(loss, grad_norm, skipped, skipped and not searching, wish > 0)

    def _backward(self, samples: Sequence, parts: int) -> Tensor:
        """Add the gradient of one of ``parts`` of a step; its share of the loss, still on the device."""
        device = next(self.model.parameters()).device
        clips = torch.cat([sample.views for sample in samples]).to(device, non_blocking=True)
        labels = torch.tensor([sample.label for sample in samples], device=device)
        with autocast(device, self.precision):
            logits = self.model(clips)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing) / parts
        self.scaler.scale(loss).backward()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """All that steps change."""
        tensors = trainable_tensors(self.model)
        return {"tensors": tensors, "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load(self, state: Mapping[str, Any], source: str) -> None:
        """Go on from a ``state``; UserError if it is another model's."""
        load_trainable(self.model, state["tensors"], source)
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            unfit = [p for p, moments in self.optimizer.state.items() if moments["exp_avg"].shape != p.shape]
        except Exception as error:  # of whatever stands there instead
            raise UserError(f"{source}: of another optimizer ({error}); run.overwrite=true starts anew") from None
        if unfit:
            raise UserError(f"{source}: its optimizer has other shapes; run.overwrite=true starts anew")
