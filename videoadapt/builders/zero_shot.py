"""The zero-shot classifier of a config."""

import torch

from videoadapt.builders.classes import class_list
from videoadapt.builders.model import build_model
from videoadapt.config import Config, ModelConfig
from videoadapt.errors import UserError
from videoadapt.models.templates import templates
from videoadapt.models.zero_shot import ZeroShot, zero_shot


def build_zero_shot(config: Config, device: str | torch.device = "cpu") -> ZeroShot:
    """CLIP itself over the class names of ``data.classes``, or the packaged ones of a known data set.

    What the config adds to the backbone is left out: fresh, it would change nothing and cost time.
    """
    model = config.model
    if model.zero_shot is None:
        raise UserError("model.zero_shot: is missing; name the prompt templates, e.g. action")
    known = class_list(config.data)
    if known is None:
        raise UserError("model.zero_shot: compares class names; name their file in data.classes")
    wording = templates(model.zero_shot)
    bare = ModelConfig(
        backbone=model.backbone,
        pretrained=model.pretrained,
        backbone_options=model.backbone_options,
        image_size=model.image_size,
    )
    return zero_shot(build_model(bare), model.backbone, model.pretrained, known.names, wording).to(device).eval()
