"""Test a checkpoint, multi-view: python tools/test.py CONFIG --checkpoint FILE [--views 32x3x3] [key=value ...]

Without a checkpoint, model.zero_shot=action (or other prompt templates) tests CLIP itself on the class names. Views
are frames x clips x crops. Also under torchrun, with the same result. Prints a table and writes results.json and
predictions.npz (index, label, scores) into run.out_dir.
"""

import io
import json
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import torch

from videoadapt import builders, cli
from videoadapt.adapters.attach import merge_linears
from videoadapt.atomic import atomically
from videoadapt.config import Config, load_config
from videoadapt.engine import distributed
from videoadapt.engine.checkpoint import read_checkpoint
from videoadapt.engine.evaluate import Predictions
from videoadapt.errors import UserError

_PACKAGES = ("videoadapt", "torch", "torchvision", "timm", "av", "decord", "torchcodec")
_LONG = 60  # classes; past that the table shows the worst


def main() -> None:
    parser = cli.config_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="what to test; not for model.zero_shot")
    parser.add_argument("--views", help="frames x clips x crops, e.g. 32x3x3; short for test.views=32x3x3")
    args = parser.parse_args()
    overrides = [*args.overrides, *([f"test.views={args.views}"] if args.views else [])]
    config = load_config(args.config, overrides)
    ranks = distributed.start(config.run.device)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    model, classes = _model(config, args.checkpoint, ranks.device)
    views = builders.test_views(config)
    loader = builders.build_test_loader(config, "test", views, ranks)
    room = len(loader.dataset) * (16 + 4 * config.data.num_classes) + 2**20
    out_dir = cli.writable_folder(config.run.out_dir, "run.out_dir", room)
    predictions = builders.build_evaluator(config, ranks)(model, loader, len(loader.dataset))
    if ranks.is_main:
        results = {**predictions.results(), **_provenance(config, str(views), args.checkpoint)}
        _write(out_dir, results, predictions)
        _show(results, classes)
    distributed.stop()


def _model(config: Config, checkpoint: Path | None, device: torch.device) -> tuple[torch.nn.Module, list[str]]:
    """What is tested, and its class names."""
    if (checkpoint is None) == (config.model.zero_shot is None):
        raise UserError("a test takes --checkpoint FILE or, without one, model.zero_shot=<templates>")
    if checkpoint is None:
        return builders.build_zero_shot(config, device), builders.class_names(config.data)
    tensors, about = read_checkpoint(checkpoint)
    builders.check_checkpoint(config, about, checkpoint)
    model = builders.build_model(config.model, device)
    builders.fill_model(model, tensors, about, checkpoint)
    return merge_linears(model) if config.model.merge else model, about["classes"]


def _provenance(config: Config, views: str, checkpoint: Path | None) -> dict:
    installed = {distribution.name: distribution.version for distribution in distributions()}
    return {
        "unit": "percent",
        "views": views,
        "fusion": config.test.fusion,
        "on_bad": config.test.on_bad,
        "decoder": config.data.decoder,
        "dataset": config.data.dataset,
        "list": config.data.test or config.data.val,
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "config": config.model_dump(),
        "versions": {name: installed.get(name) for name in _PACKAGES},
    }


def _write(out_dir: Path, results: dict, predictions: Predictions) -> None:
    unreadable = [{"index": index, "reason": reason} for index, reason in predictions.unreadable.items()]
    text = json.dumps({**results, "unreadable": unreadable}, indent=2)
    arrays = {"index": predictions.index, "label": predictions.label, "scores": predictions.scores}
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    try:
        atomically(out_dir / "predictions.npz", lambda path: path.write_bytes(packed.getvalue()))
        atomically(out_dir / "results.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))
    except OSError as error:
        top1 = f"top-1 {results['top1']:.2f} %"
        raise UserError(f"{out_dir}: the results cannot be written ({error.strerror}); {top1}") from None


def _show(results: dict, classes: list[str]) -> None:
    seen = [row for row in results["per_class"] if row["num_videos"]]
    rows = seen if len(seen) <= _LONG else sorted(seen, key=lambda row: row["top1"])[:20]
    if len(rows) < len(seen):
        print(f"the {len(rows)} worst of {len(seen)} classes (all of them in results.json):")
    print(
        cli.table(
            ["class", "videos", "top-1"], [(classes[r["class"]], r["num_videos"], f"{r['top1']:.2f}") for r in rows]
        )
    )
    print()
    keys = {"views": "views", "num_videos": "videos", "num_unreadable": "unreadable"}
    head = [*keys.values(), "top-1", "top-5", "mean class"]
    accuracies = [f"{results[key]:.2f}" for key in ("top1", "top5", "mean_class_accuracy")]
    print(cli.table(head, [[*(results[key] for key in keys), *accuracies]]))


if __name__ == "__main__":
    cli.run(main)
