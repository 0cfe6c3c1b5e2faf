"""The only place where configuration becomes objects."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import create_model
from torch import nn
from torch.utils.data import DataLoader

from videoadapt.adapters import SLOTS, TUNERS
from videoadapt.adapters.attach import fill_slot, unfreeze, wrap_linear
from videoadapt.config import Config, DataConfig, ModelConfig, Section, first_difference, validate
from videoadapt.data.datasets import TestVideos, TrainVideos, VideoReader, missing_files
from videoadapt.data.decode import require_backend
from videoadapt.data.lists import Record, read_classes, read_list
from videoadapt.data.loaders import TrainBatches, test_loader, train_loader
from videoadapt.data.sampling import dense_indices, segment_indices
from videoadapt.data.transforms import TestTransform, TrainTransform
from videoadapt.data.views import Views
from videoadapt.engine.checkpoint import load_trainable, read_checkpoint
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.evaluate import Evaluator
from videoadapt.engine.optim import build_optimizer, build_schedule
from videoadapt.engine.precision import grad_scaler
from videoadapt.engine.train import Recipe
from videoadapt.errors import UserError, nearest
from videoadapt.models.backbone import input_spec, load_backbone, open_blocks
from videoadapt.models.classifier import Classifier
from videoadapt.models.pretrained import fingerprint

# What may differ between a checkpoint's model section and that of a test: it changes no trained function.
_FREE_IN_TEST = frozenset({"pretrained", "image_size", "num_frames", "drop_path", "dropout"})


def build_model(config: ModelConfig, device: str | torch.device = "cpu") -> Classifier:
    """The pretrained image model, frozen, and everything the config adds to it.

    On the meta device the model is only a shape: no weights are read. ``model.fingerprint`` names the frozen weights.
    """
    _check_time(config)
    device = torch.device(device)
    with torch.device("meta" if device.type == "meta" else "cpu"):  # random starts do not depend on the device
        vit = load_backbone(
            config.backbone, config.pretrained, image_size=config.image_size, options=config.backbone_options
        )
        mark = None if vit.pos_embed.is_meta else fingerprint(vit)
        vit.requires_grad_(False)
        open_blocks(vit, time=_has_time(config), order=config.order, drop_path=config.drop_path)
        _adapt(vit, config)
        spec = _input_spec(config)
        model = Classifier(
            vit,
            num_frames=config.num_frames if config.temporal_embedding else None,
            num_classes=config.num_classes,
            dropout=config.dropout,
            mean=spec["mean"],
            std=spec["std"],
        )
    unfreeze(model, config.unfreeze)
    model.fingerprint = mark
    return model.to(device)


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu", pretrained: str | None = None) -> Classifier:
    """A ready model from a checkpoint alone: rebuilt, filled, in evaluation mode.

    It carries ``config`` (the whole resolved ``Config``) and ``classes`` (names in label order).

    Args:
        pretrained: where the backbone's weights are now, if not where the checkpoint's config says.
    """
    tensors, about = read_checkpoint(path)
    config = validate(Config, about["config"], str(path))
    if pretrained is not None:
        config = config.model_copy(update={"model": config.model.model_copy(update={"pretrained": pretrained})})
    model = build_model(config.model, device)
    fill_model(model, tensors, about, path)
    model.config, model.classes = config, about["classes"]
    return model.eval()


def fill_model(model: Classifier, tensors: Mapping[str, torch.Tensor], about: Mapping, source: str | Path) -> None:
    """Put a checkpoint into a model of the same backbone, classes and adapters; anything else is one clear line."""
    saved = about["config"]["model"]
    if about["fingerprint"] != model.fingerprint:
        raise UserError(
            f"{source}: trained on another backbone, {saved['backbone']} ({saved['pretrained']}) with fingerprint "
            f"{about['fingerprint'][:12]}; model.backbone and model.pretrained give {model.fingerprint[:12]}"
        )
    load_trainable(model, tensors, source)


def check_checkpoint(config: Config, about: Mapping[str, Any], source: str | Path) -> None:
    """Refuse a checkpoint of other classes, or whose model section computes something else than the config's.

    Shapes alone do not tell: a scale, the order of time and space or an activation has none.
    """
    saved, wanted = about["config"]["model"], config.model.model_dump()
    if saved["num_classes"] != wanted["num_classes"]:
        have, need = saved["num_classes"], wanted["num_classes"]
        raise UserError(f"{source}: trained for {have} classes, data.num_classes asks for {need}")
    if difference := first_difference(saved, wanted, _FREE_IN_TEST):
        key, have, need = difference
        raise UserError(f"{source}: trained with model.{key}={have}, the config has {need}")
    names = class_names(config.data)
    if config.data.classes and names != about["classes"]:
        label = next(i for i, pair in enumerate(zip(names, about["classes"], strict=True)) if pair[0] != pair[1])
        have, need = about["classes"][label], names[label]
        raise UserError(f"{source}: its class {label} is '{have}', in {config.data.classes} it is '{need}'")


def build_train_loader(config: Config, ranks: Ranks) -> DataLoader:
    """Random clips of ``data.train``, in batches of samples for this rank."""
    records = _records(config.data, "train", check_files=True)
    data = config.data
    transform = TrainTransform(
        _input_spec(config.model)["image_size"], tuple(data.crop_scale), tuple(data.crop_ratio), data.flip
    )
    indices = _indices(data, config.model.num_frames or 1, clips=1)
    videos = TrainVideos(records, _reader(data), indices, transform, config.run.seed)
    batches = TrainBatches(len(records), config.optim.batch_size, config.run.seed, ranks.rank, ranks.world)
    if len(batches) < config.optim.accumulate:
        share = config.optim.batch_size * ranks.world * config.optim.accumulate
        raise UserError(f"{data.train}: {len(records)} videos are fewer than one global batch of {share}")
    return train_loader(videos, batches, data.workers)


def build_test_loader(config: Config, split: str, views: Views, ranks: Ranks) -> DataLoader:
    """All views of this rank's share of ``data.val`` or ``data.test`` (``val`` where there is no ``test``)."""
    data = config.data
    records = _records(data, split, check_files=config.test.on_bad == "error")
    size = _input_spec(config.model)["image_size"]
    if data.resize is not None and data.resize < size:
        raise UserError(f"data.resize: {data.resize} is below the model's image size {size}")
    transform = TestTransform(size, data.resize or size, views.crops)
    videos = TestVideos(records, _reader(data), _indices(data, views.frames, views.clips), transform)
    return test_loader(videos, data.workers, ranks.rank, ranks.world)


def test_views(config: Config) -> Views:
    """The protocol of ``test.views``; one centre view by default."""
    return Views.parse(config.test.views) if config.test.views else Views(config.model.num_frames or 1)


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


def class_names(data: DataConfig) -> list[str]:
    """From ``data.classes``, or the label numbers."""
    return read_classes(data.classes, data.num_classes) if data.classes else [str(i) for i in range(data.num_classes)]


def _records(data: DataConfig, split: str, check_files: bool) -> list[Record]:
    path = getattr(data, split) or (data.val if split == "test" else None)
    if path is None:
        raise UserError(f"data.{split}: is missing; name a list file of lines 'path,label'")
    records = read_list(path, data.num_classes)
    if check_files and (missing := missing_files(records, data.root)):
        where = "the paths are relative to data.root"
        raise UserError(
            f"{path}: {len(missing)} of {len(records)} videos are missing below '{data.root}', first: "
            f"{missing[0]}; {where}"
        )
    return records


def _input_spec(config: ModelConfig) -> dict[str, Any]:
    return input_spec(config.backbone, config.pretrained, config.image_size, config.backbone_options)


def _reader(data: DataConfig) -> VideoReader:
    require_backend(data.decoder)
    return VideoReader(data.root, data.decoder, data.cache_frames)


def _indices(data: DataConfig, clip_len: int, clips: int) -> Callable:
    if data.sampling == "segment":
        return partial(segment_indices, clip_len=clip_len, clips=clips)
    return partial(
        dense_indices,
        clip_len=clip_len,
        stride=data.stride,
        clips=clips,
        spacing=data.spacing,
        out_of_range=data.out_of_range,
    )


def _has_time(config: ModelConfig) -> bool:
    return config.slots.time_out is not None or any(site.startswith("time.") for site in config.linears.sites())


def _check_time(config: ModelConfig) -> None:
    time_keys = [f"slots.{slot}" for slot in ("time_in", "time_out") if getattr(config.slots, slot) is not None]
    time_keys += [f"linears.{site}" for site in config.linears.sites() if site.startswith("time.")]
    if time_keys and config.num_frames is None:
        raise UserError(f"model.{time_keys[0]}: a time branch needs model.num_frames; images have none")
    if time_keys and config.slots.time_out is None and "linears.time.proj" not in time_keys:
        raise UserError(
            f"model.{time_keys[0]}: the time branch would not start at zero; "
            "fill model.slots.time_out or put a tuner on model.linears.time.proj"
        )


def _adapt(vit: nn.Module, config: ModelConfig) -> None:
    for slot, spec in config.slots:
        if spec is not None:
            fill_slot(vit.blocks, slot, _maker(SLOTS, spec, f"model.slots.{slot}", dim=vit.embed_dim))
    for site, spec in config.linears.sites().items():
        alone = site == "time.proj" and config.slots.time_out is None
        wrap_linear(vit.blocks, site, _maker(TUNERS, spec, f"model.linears.{site}", zero_start=alone))


def _maker(catalogue: Mapping[str, Callable], spec: Mapping[str, Any], where: str, **fixed: Any) -> Callable:
    """A constructor call with the options of ``{kind: name, **options}``, checked against its signature."""
    options = dict(spec)
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in catalogue:
        problem = "'kind' is missing" if kind is None else f"no kind '{kind}'"
        raise UserError(f"{where}: {problem}; {nearest(kind, catalogue)}")
    make = catalogue[kind]
    given = validate(_schema(make, without=fixed), options, kind, prefix=where)
    return partial(_construct, make, where, **given.model_dump(exclude_unset=True), **fixed)


def _construct(make: Callable, where: str, *args: Any, **options: Any) -> nn.Module:
    try:
        return make(*args, **options)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _schema(make: Callable, without: Mapping[str, Any]) -> type[Section]:
    parameters = inspect.signature(make).parameters.values()
    fields = {
        p.name: (p.annotation, ... if p.default is p.empty else p.default)
        for p in parameters
        if p.name not in without and p.annotation is not nn.Linear
    }
    return create_model(make.__name__, __base__=Section, **fields)
