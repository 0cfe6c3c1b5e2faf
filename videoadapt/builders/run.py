"""How a config trains and scores."""

from typing import Any

import torch
from torch import nn

from videoadapt.adapters.kan.pieces import has_compiler
from videoadapt.builders.data import build_train_views
from videoadapt.builders.model import model_input
from videoadapt.config import Config
from videoadapt.engine import distributed
from videoadapt.engine.compiled import compile_blocks, record_graph
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.evaluate import Evaluator
from videoadapt.engine.learner import Learner
from videoadapt.engine.optim import build_optimizer, build_schedule
from videoadapt.engine.precision import chosen_precision, grad_scaler, hold_frozen, set_arithmetic
from videoadapt.engine.train import Recipe
from videoadapt.errors import UserError
from videoadapt.models.backbone import blocks_of


def start_run(config: Config) -> Ranks:
    """Meet the other ranks, if there are any, with threads and arithmetic as the config says."""
    run = config.run
    set_arithmetic(distributed.pick_device(run.device, "run.device"), run.tf32, run.deterministic)
    ranks = distributed.start(run.device, config.data.stall_limit)
    if run.threads:
        torch.set_num_threads(run.threads)
    return ranks


def build_evaluator(config: Config, ranks: Ranks, static: bool = False) -> Evaluator:
    """``static`` for a model whose blocks are compiled."""
    test, precision = config.test, chosen_precision(config.run.precision, ranks.device)
    return Evaluator(ranks.device, precision, test.fusion, test.batch_size, test.on_bad, static)


def build_learner(config: Config, model: nn.Module, batches: int, ranks: Ranks) -> Learner:
    """The model with optimizer, schedule and loss scaling for epochs of so many batches on this rank."""
    precision = chosen_precision(config.run.precision, ranks.device)
    scaler = grad_scaler(ranks.device, precision)
    if not config.run.shard:  # which wants weights of one type
        hold_frozen(model, precision)
    _compile(config, model, precision, ranks)
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
    clipping = optim.clip_grad, optim.label_smoothing
    return Learner(model, optimizer, schedule, scaler, precision, *clipping, build_train_views(config))


def _compile(config: Config, model: Any, precision: str, ranks: Ranks) -> None:
    """As ``run.compile`` says; UserError where that cannot be."""
    run, how = config.run, config.run.compile
    if how == "none":
        return
    if run.shard:
        raise UserError(f"run.compile: {how} does not go with run.shard, which gathers weights between blocks")
    if how == "blocks":
        if ranks.device.type == "cpu" and not has_compiler():
            raise UserError("run.compile: torch.compile finds no C++ compiler; install g++, or use none")
        compile_blocks(blocks_of(model.backbone))
        return
    if ranks.device.type != "cuda":
        raise UserError("run.compile: graph is for GPUs; on a CPU use blocks or none")
    for key, value, plain in (
        ("run.activation_checkpointing", run.activation_checkpointing, "none"),
        ("optim.accumulate", config.optim.accumulate, 1),
    ):
        if value != plain:
            raise UserError(f"run.compile: graph does not go with {key}={value}; use blocks, or {key}={plain}")
    size, frames = model_input(config.model)["image_size"], config.model.num_frames
    shape = (config.optim.batch_size, 3, *([] if frames is None else [frames]), size, size)
    record_graph(model, shape, ranks.device, precision)


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
