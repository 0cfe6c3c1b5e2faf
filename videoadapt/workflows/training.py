"""A training run, from a config to its folder."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml

from videoadapt import builders
from videoadapt.atomic import atomically, remove_drafts, writable_folder
from videoadapt.config import WITHOUT_EFFECT, Config, RunConfig, first_difference, load_config
from videoadapt.data.faults import check_labels, doubts
from videoadapt.data.lists import fingerprint
from videoadapt.data.views import Views, plan
from videoadapt.engine import distributed
from videoadapt.engine.folder import (
    RUN_FILES,
    Progress,
    RunFolder,
    check_free,
    held_files,
    resume_states,
    room_needed,
)
from videoadapt.engine.precision import chosen_precision
from videoadapt.engine.progress import counted
from videoadapt.engine.shard import shard_frozen
from videoadapt.engine.train import train
from videoadapt.errors import UserError
from videoadapt.models.backbone import blocks_of, set_checkpointing

_FREE = [f"run.{key}" for key in RunConfig.model_fields if key not in {"seed", "precision", "tf32", "compile"}]
_FREE_IN_RESUME = frozenset({"test", *_FREE, *(f"data.{key}" for key in WITHOUT_EFFECT)})
log = logging.getLogger(__name__)


def train_config(config: Config) -> Progress:
    """Train what a config says and fill its ``run.out_dir``; alone or as one of torchrun's ranks.

    Raises UserError for what is wrong with it before anything is written, Interrupted when a signal asked for it.
    """
    if config.model.merge:
        raise UserError("model.merge: merged tuners cannot learn; it is for 'videoadapt test'")
    ranks = builders.start_run(config)
    config = _with_precision(config, ranks)
    torch.manual_seed(config.run.seed)
    classes = builders.class_names(config.data)
    loader = builders.build_train_loader(config, ranks)
    val_loader = builders.build_test_loader(config, "val", plan([Views(config.model.num_frames or 1)]), ranks)
    check_labels(loader.dataset.records, str(config.data.train))
    if ranks.is_main:
        _doubt(config, loader.dataset.records, val_loader.dataset.records, classes)
    model = builders.build_model(config.model, "cpu" if config.run.shard else ranks.device)
    set_checkpointing(model.backbone, config.run.activation_checkpointing)
    if config.run.shard:
        model = shard_frozen(model, blocks_of(model.backbone), ranks)
    learner = builders.build_learner(config, model, len(loader), ranks)
    evaluator = builders.build_evaluator(config, ranks, static=config.run.compile == "blocks")
    resume = _claim(config, ranks, room_needed(model, config.run.keep_last))
    about = {"config": config.model_dump(), "classes": classes, "fingerprint": model.fingerprint}
    layout = {"number of ranks": ranks.world, "batches an epoch": len(loader), "list's length": len(loader.dataset)}
    listed = {"data.train": loader.dataset.records, "data.val": val_loader.dataset.records}
    lists = {key: fingerprint(records) for key, records in listed.items()}
    folder = RunFolder(Path(config.run.out_dir), ranks, about, layout, config.run.keep_last, lists)
    if ranks.is_main:
        counts = [sum(p.numel() for p in model.parameters() if p.requires_grad or whole) for whole in (False, True)]
        log.info("%s trainable of %s parameters; %d batches an epoch", *(f"{n:,}" for n in counts), len(loader))
    progress = train(
        learner,
        loader,
        folder,
        recipe=builders.build_recipe(config),
        ranks=ranks,
        evaluate=lambda model: evaluator(
            model, counted(val_loader, "validating", ranks.is_main), len(val_loader.dataset)
        ).scalars(),
        resume=resume,
        data_remedy=builders.data_remedy(config, ranks),
    )
    if ranks.is_main:
        best, out_dir = progress.best_top1, config.run.out_dir
        log.info("best top-1 %.2f %% on %s; checkpoints in %s", best, config.data.val, out_dir)
    distributed.stop()
    return progress


def _with_precision(config: Config, ranks: distributed.Ranks) -> Config:
    """The config with what ``run.precision`` auto is: what the run began with, if it goes on, else what suits here."""
    if config.run.precision != "auto":
        return config
    out_dir, before = Path(config.run.out_dir), None
    if ranks.is_main and config.run.resume and resume_states(out_dir):
        before = load_config(out_dir / "config.yaml").run.precision
    before = distributed.from_main(before)
    precision = chosen_precision(before or "auto", ranks.device)
    if ranks.is_main:
        log.info("run.precision: auto is %s%s", precision, ", as the run began" if before else "")
    return config.model_copy(update={"run": config.run.model_copy(update={"precision": precision})})


def _doubt(config: Config, train: Sequence, val: Sequence, classes: Sequence[str]) -> None:
    """Warn of what makes the numbers of this training worth less than they seem."""
    for message in doubts((str(config.data.train), train), (str(config.data.val), val), classes):
        log.warning("%s", message)
    if config.model.pretrained == "none" and "all" not in config.model.unfreeze:
        log.warning("model.pretrained: none gives the frozen backbone random weights; only what is added to it learns")


def _claim(config: Config, ranks: distributed.Ranks, room: int) -> bool:
    """Take possession of ``run.out_dir`` on the first rank; whether to resume what is there."""
    return distributed.from_main(_claim_here(config, room) if ranks.is_main else None)


def _claim_here(config: Config, room: int) -> bool:
    resume, overwrite, out_dir = config.run.resume, config.run.overwrite, Path(config.run.out_dir)
    going_on = bool(resume and resume_states(out_dir))
    if resume is True and not going_on:
        raise UserError(f"{out_dir}: nothing to resume, it holds no resume_*.pt; run.resume=auto starts anew then")
    if not overwrite:
        check_free(out_dir, "run.out_dir", resume=bool(resume))
    held = sum(path.stat().st_size for path in held_files(out_dir, RUN_FILES))
    writable_folder(config.run.out_dir, "run.out_dir", max(room - held, 0))
    remove_drafts(out_dir)
    if going_on:
        _check_resumable(config, load_config(out_dir / "config.yaml"), out_dir)
        return True
    for path in held_files(out_dir):  # results too: those of an earlier run would pass for this one's
        path.unlink()
    text = yaml.safe_dump(config.model_dump(), sort_keys=False)
    atomically(out_dir / "config.yaml", lambda path: path.write_text(text, encoding="utf-8"))
    return False


def _check_resumable(config: Config, before: Config, out_dir: Path) -> None:
    if difference := first_difference(before.model_dump(), config.model_dump(), _FREE_IN_RESUME):
        key, then, now = difference
        raise UserError(f"{out_dir}: the run began with {key}={then}, now it is {now}; resume it as it began")
