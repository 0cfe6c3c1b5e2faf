"""What a model costs: its parameters by part, its operations, the size of its checkpoint."""

from typing import Any

from videoadapt import builders
from videoadapt.config import Config
from videoadapt.engine.checkpoint import checkpoint_bytes, trainable_tensors
from videoadapt.models.analysis import gflops_per_view, trainable_by_part


def analyse(config: Config) -> dict[str, Any]:
    """The numbers of one config; nothing is loaded or downloaded, the model is built on the meta device."""
    model = builders.build_model(config.model, device="meta")
    views = builders.test_views(config)
    frames = None if config.model.num_frames is None else views.frames
    per_view = gflops_per_view(model, frames, builders.model_input(config.model)["image_size"])
    about = {"config": config.model_dump(), "classes": builders.numbers(config.data.num_classes)}
    return {
        "backbone": config.model.backbone,
        "views": str(views),
        "total": sum(parameter.numel() for parameter in model.parameters()),
        "trainable": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "trainable_by_part": trainable_by_part(model),
        "gflops_per_view": round(per_view, 3),
        "gflops_per_test": round(per_view * views.clips * views.crops, 3),
        "checkpoint_bytes": checkpoint_bytes(trainable_tensors(model), about),
    }
