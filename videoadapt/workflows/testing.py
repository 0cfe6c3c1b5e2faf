"""A multi-view test, from a config and a checkpoint to results on disk."""

import json
import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property, partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from videoadapt import builders
from videoadapt.adapters.attach import merge_linears
from videoadapt.atomic import atomically, writable_folder
from videoadapt.config import Config, RunConfig
from videoadapt.data.views import Views, plan
from videoadapt.engine import distributed
from videoadapt.engine.checkpoint import read_checkpoint
from videoadapt.engine.evaluate import Predictions
from videoadapt.engine.fusion import Scores, packed
from videoadapt.engine.hub import find_checkpoint
from videoadapt.engine.log import METRICS
from videoadapt.engine.metrics import ACCURACIES
from videoadapt.engine.precision import chosen_precision
from videoadapt.engine.progress import counted
from videoadapt.errors import UserError

_PACKAGES = ("videoadapt", "torch", "torchvision", "timm", "av", "decord", "torchcodec")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tested:
    """What a test found: the answers of each protocol, and of the steps towards the last one if they were asked for."""

    config: Config
    checkpoint: str | Path | None
    classes: list[str]
    device: torch.device
    protocols: list[str]
    predictions: dict[str, Predictions]  # of the protocols and of steps such as "8x2x1 of 8x3x3"

    @property
    def main(self) -> Predictions:
        """Those of the last protocol."""
        return self.predictions[self.protocols[-1]]

    @cached_property
    def accuracies(self) -> dict[str, dict[str, float]]:
        """``ACCURACIES`` in percent, of each protocol and step."""
        found = {name: predictions.results() for name, predictions in self.predictions.items()}
        return {name: {key: results[key] for key in ACCURACIES} for name, results in found.items()}

    @cached_property
    def results(self) -> dict[str, Any]:
        """What results.json holds: the last protocol's numbers, those of every one, and how they came about."""
        installed = {distribution.name: distribution.version for distribution in distributions()}
        config = self.config
        return {
            **self.main.results(),
            "unit": "percent",
            "views": self.protocols[-1],
            "protocols": [{"views": name, **self.accuracies[name]} for name in self.protocols],
            "fusion": config.test.fusion,
            "on_bad": config.test.on_bad,
            "decoder": config.data.decoder,
            "dataset": config.data.dataset,
            "list": config.data.test or config.data.val,
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
            "config": config.model_dump(),
            "versions": {name: installed.get(name) for name in _PACKAGES},
            "machine": f"{platform.machine()}, {_device_name(self.device)}, Python {platform.python_version()}",
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "unreadable": [{"index": index, "reason": why} for index, why in self.main.unreadable.items()],
        }


def test_config(
    config: Config,
    checkpoint: str | Path | None,
    protocols: str | Sequence[Views] = (),
    steps: bool = False,
    replace: bool = False,
) -> Tested | None:
    """Test what a config says, every forward pass once for all protocols, and write into ``results_folder``.

    results.json and predictions.npz (index, label, scores) are the last protocol's; predictions_<views>.npz are those
    of the others. Also one of torchrun's ranks: the first gets the result, the others None. The config of the result
    has the folder as its ``run.out_dir``.

    Args:
        checkpoint: what to test; None for ``model.zero_shot``.
        protocols: such as ``"8x1x1,8x3x3"``; ``test.views`` by default.
        steps: also score the last protocol with fewer of its views.
        replace: write into ``run.out_dir`` whatever is there.
    """
    protocols = builders.parse_views(protocols) if isinstance(protocols, str) else list(protocols)
    if protocols:
        config = config.model_copy(update={"test": config.test.model_copy(update={"views": str(protocols[-1])})})
    protocols = protocols or [builders.test_views(config)]
    ranks = builders.start_run(config)
    file = None if checkpoint is None else find_checkpoint(checkpoint)
    if not replace:
        out_dir = distributed.from_main(str(results_folder(config.run, checkpoint, file)) if ranks.is_main else None)
        config = config.model_copy(update={"run": config.run.model_copy(update={"out_dir": out_dir})})
    model, classes, trained = _model(config, file, ranks.device)
    if config.run.precision == "auto":
        precision = chosen_precision(trained, ranks.device)
        config = config.model_copy(update={"run": config.run.model_copy(update={"precision": precision})})
    views = plan(protocols, steps)
    loader = builders.build_test_loader(config, "test", views, ranks)
    count = len(loader.dataset)
    room = count * (16 + 4 * config.data.num_classes) * len(protocols) + 2**20
    folder = writable_folder(config.run.out_dir, "run.out_dir", room)
    samples = counted(loader, "testing", ranks.is_main)
    predictions = builders.build_evaluator(config, ranks).sweep(model, samples, count, views.selections)
    distributed.stop()
    if not ranks.is_main:
        return None
    tested = Tested(config, checkpoint, classes, ranks.device, [str(views) for views in protocols], predictions)
    _write(folder, tested)
    return tested


def results_folder(run: RunConfig, checkpoint: str | Path | None, file: Path | None) -> Path:
    """Where the results of a checkpoint, which is this file, go: never over those of another run.

    That is ``run.out_dir`` if the config names it and no other run has been there, else the folder of the checkpoint's
    own run. Without such a folder, UserError if the results of a run would be lost.
    """
    wanted = Path(run.out_dir)
    own = file.parent if file is not None and (file.parent / METRICS).is_file() else None
    if own is not None and (wanted.resolve() == own.resolve() or "out_dir" not in run.model_fields_set):
        return own
    before, holds_run = _tested_before(wanted), (wanted / METRICS).is_file()
    if own is None:
        if holds_run and before not in {None, str(checkpoint)}:
            raise UserError(f"{wanted}: holds the results of {before}; say with run.out_dir=DIR where the new ones go")
        return wanted
    if holds_run or (before is not None and not Path(before).resolve().is_relative_to(own.resolve())):
        what = "another run" if holds_run else f"the results of {before}"
        log.warning("%s holds %s: the results go to %s, beside the checkpoint", wanted, what, own)
        return own
    return wanted


def _model(config: Config, checkpoint: Path | None, device: torch.device) -> tuple[torch.nn.Module, list[str], str]:
    """What is tested, its class names, and the precision of its training."""
    if (checkpoint is None) == (config.model.zero_shot is None):
        raise UserError("a test takes --checkpoint FILE or, without one, model.zero_shot=<templates>")
    if checkpoint is None:
        return builders.build_zero_shot(config, device), builders.class_names(config.data), "auto"
    tensors, about = read_checkpoint(checkpoint)
    builders.check_checkpoint(config, about, checkpoint)
    model = builders.build_model(config.model, device)
    builders.fill_model(model, tensors, about, checkpoint)
    trained = builders.checkpoint_config(about, checkpoint).run.precision
    return merge_linears(model) if config.model.merge else model, about["classes"], trained


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads of the CPU"


def _write(out_dir: Path, tested: Tested) -> None:
    if (before := _tested_before(out_dir)) not in {None, str(tested.checkpoint)}:
        log.warning("%s: replaces the results of %s", out_dir, before)
    try:
        for views in tested.protocols:
            name = "predictions.npz" if views == tested.protocols[-1] else f"predictions_{views}.npz"
            content = packed(_scores(tested.predictions[views], tested.config.test.fusion))
            atomically(out_dir / name, partial(Path.write_bytes, data=content))
        text = json.dumps(tested.results, indent=2) + "\n"
        atomically(out_dir / "results.json", lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as error:
        top1 = f"top-1 {tested.results['top1']:.2f} %"
        raise UserError(f"{out_dir}: the results cannot be written ({error.strerror}); {top1}") from None


def _tested_before(out_dir: Path) -> str | None:
    """The checkpoint whose results a folder holds."""
    try:
        return json.loads((out_dir / "results.json").read_text(encoding="utf-8"))["checkpoint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _scores(predictions: Predictions, fusion: str) -> Scores:
    return Scores(predictions.index, predictions.label, predictions.scores, fusion)
