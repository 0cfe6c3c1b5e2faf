"""How a config trains and scores."""

import torch
from torch import nn

from videoadapt.config import Config
from videoadapt.engine import distributed
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.evaluate import Evaluator
from videoadapt.engine.learner import Learner
from videoadapt.engine.optim import build_optimizer, build_schedule
from videoadapt.engine.precision import chosen_precision, grad_scaler, set_arithmetic
from videoadapt.engine.train import Recipe


def start_run(config: Config) -> Ranks:
    """Meet the other ranks, if there are any, with threads and arithmetic as the config says."""
    run = config.run
    set_arithmetic(distributed.pick_device(run.device, "run.device"), run.tf32, run.deterministic)
    ranks = distributed.start(run.device, config.data.stall_limit)
    if run.threads:
        torch.set_num_threads(run.threads)
    return ranks


def build_evaluator(config: Config, ranks: Ranks) -> Evaluator:
    test, precision = config.test, chosen_precision(config.run.precision, ranks.device)
    return Evaluator(ranks.device, precision, test.fusion, test.batch_size, test.on_bad)


def build_learner(config: Config, model: nn.Module, batches: int, ranks: Ranks) -> Learner:
    """The model with optimizer, schedule and loss scaling for epochs of so many batches on this rank."""
    precision = chosen_precision(config.run.precision, ranks.device)
    scaler = grad_scaler(ranks.device, precision)
    optim, steps = config.optim, batches // config.optim.accumulate
    optimizer = build_optimizer(
        model,
        lr=optim.lr,
        weight_decay=optim.weight_decay,
        betas=(optim.betas[0], optim.betas[1]),
        temporal_lr_scale=optim.temporal_lr_scale,
    )
    schedule = build_schedule(
        optimizer,
        total_steps=optim.epochs * steps,
        warmup_steps=round(optim.warmup_epochs * steps),
        min_lr=optim.min_lr,
    )
    return Learner(model, optimizer, schedule, scaler, precision, optim.clip_grad, optim.label_smoothing)


def build_recipe(config: Config) -> Recipe:
    optim, run = config.optim, config.run
    return Recipe(
        epochs=optim.epochs,
        accumulate=optim.accumulate,
        eval_every=run.eval_every,
        save_every=run.save_every,
        log_every=run.log_every,
        max_bad_share=config.data.max_bad_share,
        max_bad_steps=run.max_bad_steps,
        seed=run.seed,
    )
