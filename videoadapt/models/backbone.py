"""The frozen image model: timm in, space-time blocks out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from videoadapt.errors import UserError, similar
from videoadapt.models.block import SpaceTimeBlock
from videoadapt.models.pretrained import is_weight_file, load_pretrained, load_weight_file, open_clip_pixels
from videoadapt.models.quick_gelu import Gelu, QuickGelu

MINI = "vit_mini_patch16_clip_64"  # CLIP's ViT in small, pretrained by tools/pretrain_mini.py on single images
MINI_WEIGHTS = Path(__file__).parents[1] / "weights" / f"{MINI}.safetensors"
_WELL_KNOWN, _NAMED = ("vit_base_patch16_clip_quickgelu_224", "vit_base_patch16_224", "swin_base_patch4_window7_224"), 6
_MINI_OF = "vit_base_patch16_clip_quickgelu_224"
_MINI_OPTIONS: dict[str, Any] = {"img_size": 64, "embed_dim": 128, "depth": 4, "num_heads": 4}


def create_mini() -> VisionTransformer:
    """The embedded backbone's architecture, untrained: 64x64 images, patches of 16, width 128, 4 blocks."""
    mini: Any = timm.create_model(_MINI_OF, num_classes=0, **_MINI_OPTIONS)  # timm promises a module
    return mini


def load_backbone(
    name: str,
    pretrained: str,
    *,
    image_size: int | None = None,
    options: Mapping[str, Any] | None = None,
    num_classes: int = 0,
) -> VisionTransformer | SwinTransformer:
    """A pretrained timm model, complete or an error.

    Args:
        name: timm's name without a tag, or ``MINI``: a VisionTransformer of the standard block, or a Swin.
        pretrained: a timm tag, ``open_clip:<tag>``, a weight file, ``embedded`` for the mini, or ``none``: the same
            random weights every time, for tests and for training from scratch.
        image_size: side of the input where it differs from the backbone's; position embeddings are interpolated.
        options: timm's own keywords.
        num_classes: outputs of timm's head; CLIP's embedding size keeps its projection, 0 drops it.

    On the meta device no weights are read.
    """
    arguments = dict(options or {})
    if image_size:
        arguments["img_size"] = image_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = _create(name, {**arguments, "num_classes": num_classes})
    if pretrained == "none" or next(backbone.parameters()).is_meta:
        return backbone
    if pretrained == "embedded":
        if name != MINI:
            raise UserError(f"model.pretrained: embedded weights exist for {MINI} alone; {name} needs a tag or a file")
        load_weight_file(backbone, MINI_WEIGHTS)
    elif name == MINI and not is_weight_file(pretrained):
        choices = "embedded, a weight file, or none for random weights"
        raise UserError(f"model.pretrained: there are no weights '{pretrained}' of {MINI}; choose from: {choices}")
    else:
        load_pretrained(backbone, name, pretrained)
    return backbone


def input_spec(
    name: str, pretrained: str, image_size: int | None = None, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the backbone eats: ``image_size``, and ``mean`` and ``std`` of pixels in [0, 1].

    Mean and std are those of the timm or open_clip tag. A file does not tell: it gets what all tags of the backbone
    agree on, else ``mean`` and ``std`` are None.
    """
    size = image_size or (options or {}).get("img_size")
    if name == MINI:
        return {"image_size": size or _MINI_OPTIONS["img_size"], "mean": (0.5,) * 3, "std": (0.5,) * 3}
    default = timm.models.get_pretrained_cfg(name)
    if default is None:
        raise _unknown(name)
    tags = {tagged.partition(".")[2]: tagged for tagged in timm.list_pretrained(f"{name}.*")}
    if pretrained.startswith("open_clip:"):
        pixels = {open_clip_pixels(name, pretrained.removeprefix("open_clip:"))}
    else:
        any_of_them = is_weight_file(pretrained) and not pretrained.endswith(".npz")
        sources = tags.values() if any_of_them else [tags.get(pretrained, name)]
        found: list[Any] = [timm.models.get_pretrained_cfg(source) for source in sources]
        pixels = {(tuple(source.mean), tuple(source.std)) for source in found}
    mean, std = pixels.pop() if len(pixels) == 1 else (None, None)
    return {"image_size": size or default.input_size[-1], "mean": mean, "std": std}


def open_blocks(vit: VisionTransformer, *, drop_path: float = 0.0, **options: Any) -> None:
    """Replace the blocks by ``SpaceTimeBlock``s around the same modules; drop-path rises linearly from 0."""
    rates = torch.linspace(0, drop_path, len(vit.blocks), device="cpu").tolist()
    blocks: Any = vit.blocks  # torch promises modules
    opened = [SpaceTimeBlock(block, drop_path=rate, **options) for block, rate in zip(blocks, rates, strict=True)]
    for block in opened:
        if isinstance(block.mlp.act, timm.layers.QuickGELU):
            block.mlp.act = QuickGelu()
        elif type(block.mlp.act) is nn.GELU:
            block.mlp.act = Gelu(block.mlp.act.approximate)
    vit.blocks = nn.Sequential(*opened)


def set_checkpointing(backbone: Any, mode: str) -> None:
    """``none``, ``mlp`` or ``block``: see ``SpaceTimeBlock``. A hierarchical backbone has blocks alone."""
    if hasattr(backbone, "blocks"):
        for block in backbone.blocks:
            block.checkpointing = mode
    elif mode == "mlp":
        raise UserError("run.activation_checkpointing: mlp is for ViTs; a hierarchical backbone takes block")
    else:
        backbone.set_grad_checkpointing(mode == "block")


def blocks_of(backbone: nn.Module) -> list[nn.Module]:
    """The transformer blocks, whatever stages they are in."""
    stages: Any = [backbone] if hasattr(backbone, "blocks") else backbone.layers
    return [block for stage in stages for block in stage.blocks]


def holders(backbone: nn.Module, view: str) -> list[nn.Module]:
    """The modules, block by block, that hold the linears of a view: ``time``, ``space`` or ``mlp``."""
    attribute = {"time": "time_attn", "space": "attn", "mlp": "mlp"}[view]
    return [getattr(block, attribute) for block in blocks_of(backbone)]


def timm_call(name: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """timm's own name and keywords for a backbone: the mini is a small CLIP."""
    return (_MINI_OF, {**_MINI_OPTIONS, **arguments}) if name == MINI else (name, dict(arguments))


def _create(name: str, arguments: dict[str, Any]) -> VisionTransformer | SwinTransformer:
    name, arguments = timm_call(name, arguments)
    if name not in timm.list_models():
        raise _unknown(name)
    if not isinstance(arguments.get("img_size", 1), int):
        raise UserError(f"model.backbone_options.img_size: {arguments['img_size']} is not the side of a square")
    try:
        backbone: Any = timm.create_model(name, **arguments)
    except Exception as error:  # whatever a constructor makes of the user's keywords
        raise UserError(
            f"model.backbone_options: {name} refuses {arguments} ({str(error) or type(error).__name__})"
        ) from None
    is_vit = isinstance(backbone, VisionTransformer)
    standard = is_vit and all(type(block) is Block for block in backbone.blocks)
    if is_vit and (ignored := arguments.keys() & {"drop_path_rate", "patch_drop_rate"}):
        raise UserError(f"model.backbone_options.{min(ignored)}: has no effect on a ViT here; see model.drop_path")
    if is_vit and not (len(backbone.blocks) and min(backbone.patch_embed.grid_size)):
        raise UserError(f"model.backbone_options: {name} with {arguments} has no blocks or no patches")
    if not standard and not isinstance(backbone, SwinTransformer):
        raise UserError(
            f"model.backbone: {name} is not built from timm's standard ViT block; choose one that is, such as "
            "vit_base_patch16_224, or a Swin"
        )
    return backbone


def _unknown(name: str) -> UserError:
    names = [MINI, *timm.list_models(module="vision_transformer"), *timm.list_models(module="swin_transformer")]
    close, alike = similar(name, names), [other for other in names if name in other] or [MINI, *_WELL_KNOWN]
    hint = (
        f"did you mean '{close}'?"
        if close
        else f"e.g. {', '.join(alike[:_NAMED])}; timm.list_models(module='vision_transformer') has all"
    )
    return UserError(f"model.backbone: timm has no '{name}'; {hint}")
