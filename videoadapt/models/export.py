"""A merged model for others: as a graph, or as the plain weights of the library its backbone comes from."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from videoadapt.errors import UserError
from videoadapt.models.block import SLOTS
from videoadapt.models.classifier import Classifier
from videoadapt.models.clip_names import to_clip
from videoadapt.models.weight_file import check_numbers

_NO_WEIGHTS = {"input_resolution", "context_length", "vocab_size", "attn_mask"}  # in OpenAI's files


def write_program(model: Classifier, clips: Tensor, classes: str, path: Path) -> Callable[[Tensor], np.ndarray]:
    """A program of ``torch.export`` for any number of clips, which needs torch alone; what it computes, read again.

    Args:
        clips: an example of at least two.
        classes: for the file's ``classes.json``.
    """
    with path.open("wb") as file:  # as a file, whatever its name ends in
        torch.export.save(_program(model, clips), file, extra_files={"classes.json": classes})
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda x: module(x).detach().numpy()


def write_onnx(model: Classifier, clips: Tensor, classes: str, path: Path) -> Callable[[Tensor], np.ndarray]:
    """The same as ONNX, input ``clips`` and output ``logits``; the class names stand in the model's metadata."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch wants it
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}; pip install 'videoadapt[onnx]'") from None
    with _quiet():
        program: Any = torch.onnx.export(  # None without dynamo
            _program(model, clips), input_names=["clips"], output_names=["logits"], dynamo=True, verbose=False
        )
    program.model.metadata_props["classes"] = classes
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"clips": x.numpy()})[0]


def _program(model: Classifier, clips: Tensor) -> ExportedProgram:
    with torch.no_grad(), _quiet():
        return torch.export.export(model, (clips,), dynamic_shapes=({0: Dim.DYNAMIC},), strict=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remarks to itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


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
    check_numbers(kept, "the CLIP to export into")
    return {key: tower.get(key, value).detach().float().clone() for key, value in kept.items()}


def _check_plain(model: Classifier) -> None:
    extras = {"temporal embedding": model.temporal_embedding, "prompt": model.prompt}
    for block in getattr(model.backbone, "blocks", ()):
        extras |= {f"adapter in {slot}": getattr(block, slot) for slot in SLOTS} | {"time branch": block.time_attn}
    if found := next((name for name, extra in extras.items() if extra is not None), None):
        raise UserError(f"an image model has no place for the {found}; only tuners and unfrozen weights merge")
    assert not any(hasattr(module, "merged") for module in model.modules()), "merge_linears comes first"
