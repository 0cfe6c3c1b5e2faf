"""What learns: a model, and what moves it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt.engine import distributed
from videoadapt.engine.arriving import Arriving
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


class Underway:
    """A step that the device still works on."""

    def __init__(self, numbers: Tensor) -> None:
        self._numbers = Arriving(numbers)

    def outcome(self, hurry: Callable[[], bool] = lambda: False) -> Outcome:
        """As soon as it is there; PeerLost if it takes too long, which is soon from when ``hurry()`` is true."""
        loss, grad_norm, wishes, *scales = self._numbers.tolist(hurry)
        skipped = not (math.isfinite(loss) and math.isfinite(grad_norm))
        searching = skipped and math.isfinite(loss) and bool(scales) and 1 <= scales[1] < scales[0]
        return Outcome(loss, grad_norm, skipped, skipped and not searching, wishes > 0)


def as_they_are(sample: Any, device: torch.device) -> Tensor:
    """The views of a sample whose worker has finished them, on the device: (v c t h w) uint8."""
    return sample.views.to(device, non_blocking=True)


@dataclass(frozen=True)
class Learner:
    """A model with its optimizer.

    Args:
        schedule: ``step_update(step)`` sets the optimizer's learning rate.
        scaler: of the loss, for fp16.
        clip_grad: bound of the gradient's norm.
        views: makes the views of a sample on the device.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Any
    scaler: torch.amp.GradScaler
    precision: str = "fp32"
    clip_grad: float | None = None
    label_smoothing: float = 0.0
    views: Callable[[Any, torch.device], Tensor] = as_they_are

    @property
    def lr(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    @cached_property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @cached_property
    def _trainable(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def step(self, batches: Sequence[list], stopping: Callable[[], bool] = lambda: False) -> Underway:
        """Begin a step over ``batches`` of ``Sample``s, whose gradients add up.

        Nothing here waits for a GPU: whether loss and gradient are finite, and the step is taken, is decided there.
        A wish to stop is told to every rank.
        """
        total: Tensor = sum(self._backward(samples, len(batches)) for samples in batches)  # type: ignore[assignment]
        wish = torch.full((), float(stopping()), device=total.device)
        distributed.average([*(p.grad for p in self._trainable if p.grad is not None), total, wish])
        scales = [self._scale().clone()] if self.scaler.is_enabled() else []
        self.scaler.unscale_(self.optimizer)
        norm = self._clipped_norm()
        # Fused AdamW takes no step where this is 1; through it, GradScaler skips steps too.
        self.optimizer.found_inf = (total + norm).isfinite().logical_not().float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.scaler.update()
        scales += [self._scale()] if self.scaler.is_enabled() else []
        self.optimizer.zero_grad(set_to_none=True)
        return Underway(torch.stack([total, norm, wish, *scales]))

    def _backward(self, samples: Sequence, parts: int) -> Tensor:
        """Add the gradient of one of ``parts`` of a step; its share of the loss, still on the device."""
        clips = torch.cat([self.views(sample, self.device) for sample in samples])
        labels = torch.tensor([sample.label for sample in samples])
        if self.device.type == "cuda":
            labels = labels.pin_memory().to(self.device, non_blocking=True)
        with autocast(self.device, self.precision):
            logits = self.model(clips)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing) / parts
        self.scaler.scale(loss).backward()
        return loss.detach()

    def _clipped_norm(self) -> Tensor:
        """Of all gradients, which are then clipped."""
        if self.clip_grad:
            return nn.utils.clip_grad_norm_(self._trainable, self.clip_grad)
        return nn.utils.get_total_norm([p.grad for p in self._trainable if p.grad is not None])

    def _scale(self) -> Tensor:
        """Of the loss; the public form waits for the device."""
        return self.scaler._get_scale_async()  # type: ignore[return-value]  # there after the first backward pass

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
