"""The model of a config."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from videoadapt.adapters import SLOTS, TUNERS, Prompt
from videoadapt.adapters.attach import fill_slot, unfreeze, wrap_linear
from videoadapt.builders.options import chosen, maker
from videoadapt.config import Config, ModelConfig
from videoadapt.errors import UserError
from videoadapt.models.backbone import blocks_of, holders, input_spec, load_backbone, open_blocks
from videoadapt.models.classifier import Classifier
from videoadapt.models.pretrained import fingerprint


def build_model(config: ModelConfig | Config, device: str | torch.device = "cpu") -> Classifier:
    """The pretrained image model, frozen, and everything the config, or its model section, adds to it.

    On the meta device the model is only a shape: no weights are read. ``model.fingerprint`` names the frozen weights.
    """
    config = config.model if isinstance(config, Config) else config
    if config.zero_shot is not None:
        raise UserError(
            "model.zero_shot: a test of the bare CLIP, by 'videoadapt test' without a checkpoint; leave it out"
        )
    _check_time(config)
    device = torch.device(device)
    with torch.device("meta" if device.type == "meta" else "cpu"):  # random starts do not depend on the device
        model = _classifier(config)
    unfreeze(model, config.unfreeze)
    return model.to(device)


def model_input(config: ModelConfig) -> dict[str, Any]:
    """``image_size``, ``mean`` and ``std`` of what the model eats."""
    spec = input_spec(config.backbone, config.pretrained, config.image_size, config.backbone_options)
    given = {key: tuple(value) for key in ("mean", "std") if (value := getattr(config, key))}
    if missing := [key for key, value in {**spec, **given}.items() if value is None]:
        raise UserError(
            f"model.{missing[0]}: the published weights of {config.backbone} were trained on pixels of different mean "
            f"and std, and {config.pretrained} does not tell; set model.mean and model.std"
        )
    return {**spec, **given}


def _classifier(config: ModelConfig) -> Classifier:
    options = dict(config.backbone_options)
    backbone = load_backbone(config.backbone, config.pretrained, image_size=config.image_size, options=options)
    mark = None if next(backbone.parameters()).is_meta else fingerprint(backbone)
    backbone.requires_grad_(False)
    if isinstance(backbone, VisionTransformer):
        _open(backbone, config)
    else:
        _check_closed(config)
    _adapt(backbone, config)
    spec = model_input(config)
    model = Classifier(
        backbone,
        num_frames=config.num_frames if config.temporal_embedding else None,
        num_classes=config.num_classes,
        dropout=config.dropout,
        mean=spec["mean"],
        std=spec["std"],
        prompt=_prompt(backbone, config),
    )
    model.fingerprint = mark
    return model


def _open(vit: VisionTransformer, config: ModelConfig) -> None:
    time = config.slots.time_out is not None or any(site.startswith("time.") for site in config.linears.sites())
    dropping = time or config.slots.mlp_side is not None or config.drop_path_on == "branches"
    if config.drop_path and not dropping:
        raise UserError("model.drop_path: no adapter branch to drop; set model.drop_path_on=branches")
    if not config.space_residual and config.slots.space_out is None:
        raise UserError("model.space_residual: false needs an adapter in model.slots.space_out")
    open_blocks(
        vit,
        time=time,
        order=config.order,
        drop_path=config.drop_path,
        drop_path_on=config.drop_path_on,
        space_residual=config.space_residual,
    )


def _check_time(config: ModelConfig) -> None:
    """The time branch needs frames, and must start at zero."""
    time_keys = [f"slots.{slot}" for slot in ("time_in", "time_out") if getattr(config.slots, slot) is not None]
    time_keys += [f"linears.{site}" for site in config.linears.sites() if site.startswith("time.")]
    if time_keys and config.num_frames is None:
        raise UserError(f"model.{time_keys[0]}: a time branch needs model.num_frames; images have none")
    if time_keys and config.slots.time_out is None and "linears.time.proj" not in time_keys:
        raise UserError(
            f"model.{time_keys[0]}: the time branch would not start at zero; "
            "fill model.slots.time_out or put a tuner on model.linears.time.proj"
        )


def _check_closed(config: ModelConfig) -> None:
    """A hierarchical backbone has its linears to offer, and nothing else."""
    present = {
        **{f"slots.{slot}": spec is not None for slot, spec in config.slots},
        **{f"linears.{site}": site.startswith("time.") for site in config.linears.sites()},
        "prompt": config.prompt is not None,
        "num_frames": config.num_frames is not None and config.temporal_embedding,
        "space_residual": not config.space_residual,
        "drop_path": config.drop_path > 0,
    }
    if key := next((key for key, found in present.items() if found), None):
        remedy = {
            "num_frames": "set model.temporal_embedding=false",
            "drop_path": "set model.backbone_options.drop_path_rate",
        }.get(key, "it takes tuners in model.linears.space and model.linears.mlp")
        raise UserError(f"model.{key}: {config.backbone} has no place for it; {remedy}")


def _adapt(backbone: nn.Module, config: ModelConfig) -> None:
    for slot, spec in config.slots:
        if spec is not None:
            fill_slot(blocks_of(backbone), slot, _slot_maker(backbone, slot, spec))
    shared: dict = {}  # what the layers of one network have in common, for methods that factor all of them together
    for site, spec in config.linears.sites().items():
        view, name = site.split(".")
        zero_start = site == "time.proj" and config.slots.time_out is None
        wrap_linear(holders(backbone, view), name, _tuner_maker(site, spec, zero_start, shared))


def _slot_maker(vit: nn.Module, slot: str, spec: Mapping[str, Any]) -> Callable:
    where = f"model.slots.{slot}"
    make, options = chosen(SLOTS, spec, where)
    if getattr(make, "needs_layout", False) and slot.startswith("time_"):
        raise UserError(
            f"{where}: {spec['kind']} works on the patches of frames, which the time view has not; "
            "its places are the slots of space and mlp"
        )
    return maker(make, options, where, {"dim": vit.embed_dim})


def _tuner_maker(site: str, spec: Mapping[str, Any], zero_start: bool, shared: dict) -> Callable:
    where = f"model.linears.{site}"
    make, options = chosen(TUNERS, spec, where)
    if zero_start and "zero_start" not in signature(make).parameters:
        raise UserError(f"{where}: {spec['kind']} cannot start the time branch at zero; fill model.slots.time_out")
    fixed = {"zero_start": zero_start, "shared": shared}
    return maker(make, options, where, fixed, defaults={"parts": 3 if site.endswith("qkv") else 1})


def _prompt(vit: Any, config: ModelConfig) -> nn.Module | None:
    if config.prompt is None:
        return None
    size = {"dim": vit.embed_dim, "depth": len(vit.blocks), "patch": vit.patch_embed.patch_size[0]}
    return maker(Prompt, config.prompt, "model.prompt", size)()
