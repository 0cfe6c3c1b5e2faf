"""A merged model as the plain weights of the library its backbone comes from."""

from collections.abc import Mapping

from torch import Tensor

from videoadapt.errors import UserError
from videoadapt.models.block import SLOTS
from videoadapt.models.classifier import Classifier
from videoadapt.models.clip_names import to_clip

_NO_WEIGHTS = {"input_resolution", "context_length", "vocab_size", "attn_mask"}  # in OpenAI's files


def timm_state(model: Classifier) -> dict[str, Tensor]:
    """The state dict of the stock timm model with as many classes; ``model`` is merged.

    Raises UserError for anything an image model of timm has no place for.
    """
    _check_plain(model)
    place = "head" if hasattr(model.backbone, "blocks") else "head.fc"
    head = {f"{place}.{key}": value for key, value in model.head.state_dict().items()}
    return {key: value.detach().clone() for key, value in {**model.backbone.state_dict(), **head}.items()}


def open_clip_state(model: Classifier, original: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``original``, the state dict of a whole CLIP, with ``model``'s image tower; the head is left out.

    The projection into the embedding space stays CLIP's.
    """
    _check_plain(model)
    tower = {f"visual.{key}": value for key, value in to_clip(model.backbone.state_dict()).items()}
    if strange := sorted(tower.keys() - original.keys()):
        raise UserError(f"the CLIP to export into has no {strange[0]}; is it the backbone's own?")
    if unfit := [key for key in tower if tower[key].shape != original[key].shape]:
        raise UserError(f"the CLIP to export into has another shape of {unfit[0]}; is model.image_size its own?")
    kept = {key: value for key, value in original.items() if key not in _NO_WEIGHTS}
    return {key: tower.get(key, value).detach().float().clone() for key, value in kept.items()}


def _check_plain(model: Classifier) -> None:
    extras = {"temporal embedding": model.temporal_embedding, "prompt": model.prompt}
    for block in getattr(model.backbone, "blocks", ()):
        extras |= {f"adapter in {slot}": getattr(block, slot) for slot in SLOTS} | {"time branch": block.time_attn}
    if found := next((name for name, extra in extras.items() if extra is not None), None):
        raise UserError(f"an image model has no place for the {found}; only tuners and unfrozen weights merge")
    assert not any(hasattr(module, "merged") for module in model.modules()), "merge_linears comes first"
