"""The activation that weights were trained with, GELU or QuickGELU: no tensor tells, and each runs with the other."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import timm
from torch import nn

from videoadapt.errors import UserError
from videoadapt.models.weight_file import Weights
from videoadapt.tensorfile import script_classes

log = logging.getLogger(__name__)

# Weights of QuickGELU that timm does not note as such, and where the backbone of their activation finds them. Apple
# published them with "quick_gelu", and open_clip's table has it.
_NOT_NOTED = {"vit_base_patch16_clip_224.dfn2b": "open_clip:dfn2b"}
_OPENAIS_OWN = {"input_resolution", "context_length", "vocab_size"}  # numbers among the tensors of its files


def uses_quickgelu(model: nn.Module) -> bool:
    """Whether any layer of a model is a QuickGELU, timm's, open_clip's or ours."""
    return any(type(module).__name__.lower() == "quickgelu" for module in model.modules())


def tag_uses_quickgelu(backbone: str, tag: str) -> bool:
    """Whether timm's weights ``backbone.tag`` were trained with QuickGELU; the plain backbones list such tags too."""
    known = timm.models.get_pretrained_cfg(f"{backbone}.{tag}")
    noted = any("quickgelu" in note.lower() for note in (getattr(known, "notes", None) or ()))
    return "quickgelu" in backbone or noted or f"{backbone}.{tag}" in _NOT_NOTED


def twin(backbone: str) -> str | None:
    """timm's name of the same CLIP with the other activation."""
    quick, plain = "_clip_quickgelu_", "_clip_"
    other = backbone.replace(quick, plain) if quick in backbone else backbone.replace(plain, quick)
    return other if other != backbone and timm.is_model(other) else None


def check_activation(what: str, trained: bool, backbone: str, built: bool) -> None:
    """UserError if weights do not run with their own activation; True is QuickGELU.

    Args:
        trained: what ``what`` was trained with.
        built: what the model has that was built as ``backbone``.
    """
    if trained == built:
        return
    other, kind = twin(backbone), "QuickGELU" if trained else "GELU"
    remedy = f"set model.backbone_options.act_layer={'quick_gelu' if trained else 'gelu'}"
    if other and built == ("quickgelu" in backbone):  # not an act_layer of the config's own
        source = _NOT_NOTED.get(what)
        remedy = f"use backbone {other}" + (f" with {source}" if source else "")
    raise UserError(f"model.pretrained: {what} was trained with {kind}, another activation; {remedy}")


def check_file(path: Path, weights: Weights, backbone: str, model: nn.Module) -> None:
    """The same for a file; the log has the activation that is assumed where a CLIP's file does not tell its own."""
    built, trained = uses_quickgelu(model), file_uses_quickgelu(path, weights)
    if trained is not None:
        check_activation(str(path), trained, backbone, built)
    elif other := twin(backbone):
        kind = "QuickGELU" if built else "GELU"
        hint = f"; {other} has the other" if built == ("quickgelu" in backbone) else ""
        log.info("%s: does not tell its activation; %s is assumed%s", path, kind, hint)


def file_uses_quickgelu(path: Path, weights: Weights) -> bool | None:
    """What a weight file and the descriptions around it say; None if they say nothing.

    Its own program (TorchScript) counts first, then OpenAI's marks, the training arguments beside the weights, the
    configs of open_clip's and timm's hub folders, and the file's name.
    """
    if len(found := script_classes(path) & {"QuickGELU", "GELU"}) == 1:
        return found == {"QuickGELU"}
    if _OPENAIS_OWN & {key.split(".")[-1] for key in weights.state}:
        return True
    return next((said for said in _said(path, weights.beside) if said is not None), None)


def _said(path: Path, beside: Mapping[str, Any]) -> Iterator[bool | None]:
    """One source after the other; the name of a backbone says GELU only where it is that of a training."""
    arguments = beside.get("args")
    given = arguments if isinstance(arguments, Mapping) else vars(arguments) if hasattr(arguments, "__dict__") else {}
    if "act_layer" not in str(given.get("model_kwargs")):  # timm's --model-kwargs: the name says nothing then
        for name in (beside.get("arch"), given.get("model")):
            yield _quick_by_name(name) or (False if isinstance(name, str) and timm.is_model(name) else None)
    yield _quick_by_name(beside.get("name"))  # open_clip's of the run, with that of the model in it
    if path.name.startswith("open_clip"):
        tower = _described(path.with_name("open_clip_config.json")).get("model_cfg")
        yield bool(tower.get("quick_gelu")) if isinstance(tower, Mapping) else None
    if path.stem in ("model", "pytorch_model"):
        yield _timm_says(_described(path.with_name("config.json")))
    tags = set(timm.list_pretrained("*_clip_*"))
    for part in reversed(path.with_suffix("").parts):  # …/models--timm--vit_base_patch16_clip_224.openai/…
        if (tagged := part.split("--")[-1]) in tags:
            yield tag_uses_quickgelu(*tagged.split(".", 1))
    yield _quick_by_name(path.name)


def _quick_by_name(name: object) -> bool | None:
    return True if isinstance(name, str) and "quickgelu" in name.lower().replace("_", "") else None


def _timm_says(config: Mapping[str, Any]) -> bool | None:
    name, source = config.get("architecture"), config.get("pretrained_cfg")
    if not isinstance(name, str) or not timm.is_model(name) or "act_layer" in str(config.get("model_args")):
        return None
    return tag_uses_quickgelu(name, str(source.get("tag")) if isinstance(source, Mapping) else "")


def _described(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, Mapping) else {}
