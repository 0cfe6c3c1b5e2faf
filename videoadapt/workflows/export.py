"""A checkpoint as a file for other programs."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from videoadapt import builders
from videoadapt.adapters.attach import merge_linears
from videoadapt.atomic import atomically, writable_folder
from videoadapt.config import ModelConfig
from videoadapt.errors import UserError
from videoadapt.models.backbone import timm_call
from videoadapt.models.classifier import Classifier
from videoadapt.models.export import open_clip_state, timm_state, write_onnx, write_program
from videoadapt.models.pretrained import open_clip_file, open_clip_name, read_state_dict

STATES = {".safetensors", ".bin", ".pt", ".pth"}
GRAPHS = {".onnx", ".pt2"}
_TOLERANCE = 1e-3  # of the greatest logit


def export_graph(model: Classifier, out: str | Path) -> float:
    """The model, its tuners merged, with any number of clips as its input, as ONNX or a program of ``torch.export``.

    Input: uint8 clips (b 3 t h w) or images (b 3 h w), not normalised; output: logits (b k). The class names are in
    the file. It is written only if it gives the same logits as the model: the greatest difference comes back.
    """
    model, out = merge_linears(model).eval(), Path(out)
    config, side = model.config.model, builders.model_input(model.config.model)["image_size"]
    shape = (3, config.num_frames, side, side) if config.num_frames else (3, side, side)
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (3, *shape), dtype=torch.uint8, generator=generator)
    write = write_onnx if out.suffix == ".onnx" else write_program
    differences = []

    def write_and_check(path: Path) -> None:
        run = write(model, clips[:2], json.dumps(model.classes), path)
        differences.append(_difference(model, run, clips, out))

    writable_folder(str(out.parent), "--out")
    atomically(out, write_and_check)
    return differences[0]


def _difference(model: Classifier, run: Callable[[Tensor], np.ndarray], clips: Tensor, out: Path) -> float:
    """Between the model's logits and those of the written file, on more clips than it was traced with."""
    with torch.inference_mode():
        expected = model(clips).numpy()
    difference = float(np.abs(run(clips) - expected).max())
    if not difference <= _TOLERANCE * max(np.abs(expected).max(), 1):
        raise UserError(f"{out}: not written, its logits differ from the model's by up to {difference:.2g}")
    return difference


def export_state(model: Classifier, out: str | Path, library: str, pretrained: str | None = None) -> tuple[int, str]:
    """The merged image model as the plain state dict that stock ``timm`` or ``open_clip`` loads.

    Args:
        pretrained: the file with both towers of CLIP, if it is not where the config says.

    Gives the number of tensors and a line of Python that loads the file; UserError if something does not merge.
    """
    model, out = merge_linears(model), Path(out)
    section = model.config.model
    if library == "timm":
        state, example = timm_state(model), _timm_example(section, out)
    else:
        source = open_clip_file(section.backbone, pretrained or section.pretrained)
        state, name = open_clip_state(model, read_state_dict(source)), open_clip_name(section.backbone)
        example = f"open_clip.create_model('{name}', pretrained='{out}')    # the head of classes is left out"
    writable_folder(str(out.parent), "--out")
    state = {key: value.contiguous() for key, value in state.items()}
    save = save_file if out.suffix == ".safetensors" else torch.save
    atomically(out, lambda path: save(state, path))
    return len(state), example


def _timm_example(section: ModelConfig, out: Path) -> str:
    sizes = {"img_size": section.image_size} if section.image_size else {}
    name, options = timm_call(section.backbone, {**section.backbone_options, **sizes})
    options |= {"num_classes": section.num_classes, "checkpoint_path": str(out)}
    return f"timm.create_model('{name}', {', '.join(f'{key}={value!r}' for key, value in options.items())})"
