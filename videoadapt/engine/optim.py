"""Optimizer and schedule, both from the libraries; only their settings are ours."""

import torch
from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]  # its __init__ names no exports
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import nn

_TABLES = {"temporal_embedding", "pos_embed", "cls_token", "reg_token", "relative_position_bias_table"}


def build_optimizer(
    model: nn.Module, *, lr: float, weight_decay: float, betas: tuple[float, float], temporal_lr_scale: float = 1.0
) -> torch.optim.AdamW:
    """AdamW over what ``requires_grad``; no weight decay on vectors, tokens and tables of positions.

    The temporal embedding, a group of its own, learns ``temporal_lr_scale`` times as fast.
    """
    tables = [name for name, _ in model.named_parameters() if name.rpartition(".")[2] in _TABLES]
    groups = param_groups_weight_decay(model, weight_decay, no_weight_decay_list=tables)
    embedding = getattr(model, "temporal_embedding", None)
    if embedding is not None:
        for group in groups:
            group["params"] = [p for p in group["params"] if p is not embedding]
        groups.append({"params": [embedding], "weight_decay": 0.0, "lr_scale": temporal_lr_scale})
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, betas=betas, fused=True)


def build_schedule(
    optimizer: torch.optim.Optimizer, *, total_steps: int, warmup_steps: int, min_lr: float
) -> CosineLRScheduler:
    """Linear warm-up from 0, then a cosine from the optimizer's rate to ``min_lr``; ``step_update(step)`` sets it.

    A parameter group's ``lr_scale`` multiplies its rate.
    """
    return CosineLRScheduler(
        optimizer,
        total_steps,
        lr_min=min_lr,
        warmup_t=warmup_steps,
        warmup_lr_init=0.0,
        t_in_epochs=False,
        cycle_decay=0.5,  # of later cycles, of which there are none; with 1, timm warns of a run of one step
    )
