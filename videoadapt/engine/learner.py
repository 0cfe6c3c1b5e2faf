"""What learns: a model, and what moves it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt.engine import distributed
from videoadapt.engine.checkpoint import is_plain, load_trainable, trainable_tensors
from videoadapt.engine.precision import autocast
from videoadapt.errors import UserError

START_ANEW = "run.resume=false run.overwrite=true starts anew"


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
        total: Tensor = sum(self._backward(s, len(batches)) for s in batches)  # type: ignore[assignment]  # never 0
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        wish = torch.tensor(float(stopping()), device=total.device)
        distributed.average([*(p.grad for p in trainable if p.grad is not None), total, wish])
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(trainable, self.clip_grad or math.inf)
        loss, grad_norm, wishes = torch.stack([total, norm, wish]).tolist()  # the one moment to wait for the device
        skipped = not (math.isfinite(loss) and math.isfinite(grad_norm))
        if not skipped:
            self.scaler.step(self.optimizer)
        scale = self.scaler.get_scale() if skipped else 0.0
        self.scaler.update()
        searching = skipped and math.isfinite(loss) and 1 <= self.scaler.get_scale() < scale
        self.optimizer.zero_grad(set_to_none=True)
        return Outcome(loss, grad_norm, skipped, skipped and not searching, wishes > 0)

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
        problem = self._unfit(state["optimizer"]["state"])
        if problem:
            raise UserError(f"{source}: of another optimizer ({problem}); {START_ANEW}")
        groups = self.optimizer.state_dict()["param_groups"]  # the rates are the config's
        self.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})
        try:
            self.scaler.load_state_dict(state["scaler"])
        except (RuntimeError, KeyError, TypeError, AttributeError):
            raise UserError(f"{source}: its loss scale is damaged; {START_ANEW}") from None

    def _unfit(self, moments: Mapping[int, Mapping[str, Tensor]]) -> str | None:
        """What of AdamW's moments does not fit the parameters; its kernels do not look."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        if not set(moments) <= set(range(len(parameters))):
            return "it has other parameters"
        for number, of_one in moments.items():
            shapes = {"step": (), "exp_avg": parameters[number].shape, "exp_avg_sq": parameters[number].shape}
            if not isinstance(of_one, Mapping) or set(of_one) != set(shapes):
                return f"moments of parameter {number} are missing"
            for name, shape in shapes.items():
                if not is_plain(of_one[name]) or of_one[name].shape != shape:
                    return f"{name} of parameter {number} has another shape or type"
        return None
