"""Train a model: python tools/train.py CONFIG [key=value ...]

Also under torchrun: torchrun --nproc-per-node N tools/train.py CONFIG [key=value ...]
Writes into run.out_dir: config.yaml, metrics.jsonl, TensorBoard events, last.safetensors, best.safetensors and
resume.pt.
"""

from pathlib import Path

import torch
import yaml

from videoadapt import builders, cli
from videoadapt.config import Config, first_difference, load_config
from videoadapt.data.views import Views
from videoadapt.engine import distributed
from videoadapt.engine.train import STATE, train
from videoadapt.errors import UserError
from videoadapt.models.backbone import set_checkpointing

_RUN_FILES = ("metrics.jsonl", "events.out.tfevents*", "last.safetensors", "best.safetensors", STATE)
_FREE_IN_RESUME = frozenset({"run", "test", "data.workers", "data.cache_frames", "data.root", "data.time_limit"})


def main() -> None:
    args = cli.config_parser(__doc__).parse_args()
    config = load_config(args.config, args.overrides)
    if config.model.merge:
        raise UserError("model.merge: merged tuners cannot learn; it is for tools/test.py")
    ranks = distributed.start(config.run.device)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    torch.manual_seed(config.run.seed)
    classes = builders.class_names(config.data)
    loader = builders.build_train_loader(config, ranks)
    val_loader = builders.build_test_loader(config, "val", Views(config.model.num_frames or 1), ranks)
    model = builders.build_model(config.model, ranks.device)
    set_checkpointing(model.backbone, config.run.activation_checkpointing)
    optimizer, schedule, scaler = builders.build_optimization(config, model, len(loader), ranks)
    evaluator = builders.build_evaluator(config, ranks)
    resume = _claim(config, ranks)
    about = {"config": config.model_dump(), "classes": classes, "fingerprint": model.fingerprint}
    if ranks.is_main:
        counts = [
            sum(p.numel() for p in model.parameters() if p.requires_grad),
            sum(p.numel() for p in model.parameters()),
        ]
        print(f"{counts[0]:,} trainable of {counts[1]:,} parameters; {len(loader)} batches an epoch")
    progress = train(
        model,
        loader,
        optimizer,
        schedule,
        scaler,
        recipe=builders.build_recipe(config),
        ranks=ranks,
        out_dir=Path(config.run.out_dir),
        evaluate=lambda model: evaluator(model, val_loader, len(val_loader.dataset)).scalars(),
        about=about,
        resume=resume,
    )
    if ranks.is_main:
        print(f"best top-1 {progress.best_top1:.2f} % on {config.data.val}; checkpoints in {config.run.out_dir}")
    distributed.stop()


def _claim(config: Config, ranks: distributed.Ranks) -> bool:
    """Take possession of ``run.out_dir`` on the first rank; whether to resume what is there."""
    answer: bool | str = False
    if ranks.is_main:
        try:
            answer = _claim_here(config)
        except UserError as error:
            answer = str(error)
    answer = distributed.gather(answer)[0]
    if isinstance(answer, str):
        raise UserError(answer)
    return answer


def _claim_here(config: Config) -> bool:
    out_dir, resume = cli.writable_folder(config.run.out_dir, "run.out_dir"), config.run.resume
    if resume and (out_dir / STATE).is_file():
        _check_resumable(config, load_config(out_dir / "config.yaml"), out_dir)
        return True
    if resume is True:
        raise UserError(f"{out_dir / STATE}: nothing to resume; run.resume=auto starts anew in that case")
    metrics = out_dir / "metrics.jsonl"
    if metrics.exists() and metrics.stat().st_size and not config.run.overwrite and resume != "auto":
        raise UserError(f"{out_dir}: holds a run; choose another run.out_dir, run.resume=auto or run.overwrite=true")
    for pattern in _RUN_FILES:
        for path in out_dir.glob(pattern):
            path.unlink()
    (out_dir / "config.yaml").write_text(yaml.safe_dump(config.model_dump(), sort_keys=False), encoding="utf-8")
    return False


def _check_resumable(config: Config, before: Config, out_dir: Path) -> None:
    if difference := first_difference(before.model_dump(), config.model_dump(), _FREE_IN_RESUME):
        key, then, now = difference
        raise UserError(f"{out_dir}: the run began with {key}={then}, now it is {now}; resume it as it began")


if __name__ == "__main__":
    cli.run(main)
