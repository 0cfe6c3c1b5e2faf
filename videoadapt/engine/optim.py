"""Optimizer and schedule, both from the libraries; only their settings are ours."""

import torch
from timm.optim import param_groups_weight_decay
from timm.scheduler import CosineLRScheduler
from torch import nn


def build_optimizer(
    model: nn.Module, *, lr: float, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.AdamW:
    """AdamW over what ``requires_grad``; no weight decay on vectors and on the temporal embedding."""
    groups = param_groups_weight_decay(model, weight_decay, no_weight_decay_list=["temporal_embedding"])
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, betas=betas)


def build_schedule(
    optimizer: torch.optim.Optimizer, *, total_steps: int, warmup_steps: int, min_lr: float
) -> CosineLRScheduler:
    """Linear warm-up from 0, then a cosine from the optimizer's rate to ``min_lr``; ``step_update(step)`` sets it."""
    return CosineLRScheduler(
        optimizer, total_steps, lr_min=min_lr, warmup_t=warmup_steps, warmup_lr_init=0.0, t_in_epochs=False
    )
