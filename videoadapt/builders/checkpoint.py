"""Checkpoints of a config's model: opening them, and refusing those of another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from videoadapt.builders.classes import class_list, numbers
from videoadapt.builders.model import build_model, model_input
from videoadapt.config import Config, first_difference, validate
from videoadapt.data.lists import first_other
from videoadapt.engine.checkpoint import load_trainable, read_checkpoint
from videoadapt.engine.distributed import pick_device
from videoadapt.engine.hub import find_checkpoint
from videoadapt.engine.precision import set_arithmetic
from videoadapt.errors import UserError
from videoadapt.models.classifier import Classifier

# What may differ between a checkpoint's model section and that of a test: it changes no trained function.
_FREE_IN_TEST = frozenset({"merge", "pretrained", "image_size", "num_frames", "drop_path", "dropout"})


def load_checkpoint(
    path: str | Path,
    device: str | torch.device = "cpu",
    pretrained: str | None = None,
    image_size: int | None = None,
) -> Classifier:
    """A ready model from a checkpoint alone, a file, a folder or ``hf://owner/name``: filled, in evaluation mode.

    It carries ``config`` (the whole resolved ``Config``) and ``classes`` (names in label order).

    Args:
        device: ``cpu``, ``cuda``, ``cuda:<number>``, or ``auto`` for a GPU where there is one.
        pretrained: where the backbone's weights are now, if not where the checkpoint's config says.
        image_size: another one than in training; position embeddings are interpolated.
    """
    device = pick_device(str(device), "device")
    path = find_checkpoint(path)
    tensors, about = read_checkpoint(path)
    config = checkpoint_config(about, path)
    if pretrained is not None:
        config = config.model_copy(update={"model": config.model.model_copy(update={"pretrained": pretrained})})
    if image_size is not None:
        config = _resized(config, image_size)
    set_arithmetic(device, config.run.tf32)
    model = build_model(config.model, device)
    fill_model(model, tensors, about, path)
    model.config, model.classes = config, about["classes"]
    return model.eval()


def _resized(config: Config, image_size: int) -> Config:
    """The config at another image size; its short side in tests grows or shrinks alike."""
    before = model_input(config.model)["image_size"]
    resize = config.data.resize and round(config.data.resize * image_size / before)
    model = config.model.model_copy(update={"image_size": image_size})
    return config.model_copy(update={"model": model, "data": config.data.model_copy(update={"resize": resize})})


def checkpoint_config(about: Mapping[str, Any], source: str | Path) -> Config:
    """The config that a checkpoint carries; keys that are younger than it have their defaults."""
    if missing := {"config", "classes", "fingerprint"} - about.keys():
        raise UserError(f"{source}: carries no {min(missing)}; it was not written by 'videoadapt train'")
    config, classes = validate(Config, about["config"], str(source)), about["classes"]
    named = isinstance(classes, list) and all(isinstance(name, str) and name.isprintable() for name in classes)
    if not named or len(classes) != config.data.num_classes or not isinstance(about["fingerprint"], str):
        raise UserError(f"{source}: its class names or fingerprint are damaged")
    return config


def fill_model(model: Classifier, tensors: Mapping[str, torch.Tensor], about: Mapping, source: str | Path) -> None:
    """Put a checkpoint into a model of the same backbone, classes and adapters; anything else is one clear line."""
    saved = about["config"]["model"]
    if about["fingerprint"] != model.fingerprint:
        raise UserError(
            f"{source}: trained on another backbone, {saved['backbone']} ({saved['pretrained']}) with fingerprint "
            f"{about['fingerprint'][:12]}; model.backbone and model.pretrained give {str(model.fingerprint)[:12]}"
        )
    load_trainable(model, model.fitted(tensors), source)


def check_checkpoint(config: Config, about: Mapping[str, Any], source: str | Path) -> None:
    """Refuse a checkpoint of other classes, or whose model section computes something else than the config's.

    Shapes alone do not tell: a scale, the order of time and space or an activation has none.
    """
    saved, wanted = checkpoint_config(about, source).model.model_dump(), config.model.model_dump()
    if saved["num_classes"] != wanted["num_classes"]:
        have, need = saved["num_classes"], wanted["num_classes"]
        raise UserError(f"{source}: trained for {have} classes, data.num_classes asks for {need}")
    if difference := first_difference(saved, wanted, _FREE_IN_TEST):
        key, have, need = difference
        raise UserError(f"{source}: trained with model.{key}={have}, the config has {need}")
    named, learned = class_list(config.data), about["classes"]
    if named and named.names != learned and (config.data.classes or learned != numbers(len(learned))):
        label = first_other(learned, named.names)
        have, need = learned[label], named.names[label]
        raise UserError(
            f"{source}: its class {label} is '{have}', in {named.file} it is '{need}'; data.classes must name the file "
            "that it was trained with"
        )
