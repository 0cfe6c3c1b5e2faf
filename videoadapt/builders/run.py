"""How a config trains and scores."""

from typing import Any

import torch
from torch import nn

from videoadapt.config import Config
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.evaluate import Evaluator
from videoadapt.engine.optim import build_optimizer, build_schedule
from videoadapt.engine.precision import grad_scaler
from videoadapt.engine.train import Recipe


def build_evaluator(config: Config, ranks: Ranks) -> Evaluator:
    test = config.test
    return Evaluator(ranks.device, config.run.precision, test.fusion, test.batch_size, test.on_bad)


def build_optimization(
    config: Config, model: nn.Module, batches: int, ranks: Ranks
) -> tuple[torch.optim.Optimizer, Any, torch.amp.GradScaler]:
    """Optimizer, schedule and loss scaling for epochs of so many batches on this rank."""
    scaler = grad_scaler(ranks.device, config.run.precision)
    optim, steps = config.optim, batches // config.optim.accumulate
    optimizer = build_optimizer(
        model,
        lr=optim.lr,
        weight_decay=optim.weight_decay,
        betas=tuple(optim.betas),
        temporal_lr_scale=optim.temporal_lr_scale,
    )
    schedule = build_schedule(
        optimizer,
        total_steps=optim.epochs * steps,
        warmup_steps=round(optim.warmup_epochs * steps),
        min_lr=optim.min_lr,
    )
    return optimizer, schedule, scaler


def build_recipe(config: Config) -> Recipe:
    optim, run = config.optim, config.run
    return Recipe(
        epochs=optim.epochs,
        accumulate=optim.accumulate,
        clip_grad=optim.clip_grad,
        label_smoothing=optim.label_smoothing,
        precision=run.precision,
        eval_every=run.eval_every,
        log_every=run.log_every,
        max_bad_share=config.data.max_bad_share,
        seed=run.seed,
    )
