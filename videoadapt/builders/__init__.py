"""The only place where configuration becomes objects."""

from videoadapt.builders.checkpoint import check_checkpoint, checkpoint_config, fill_model, load_checkpoint
from videoadapt.builders.classes import class_names, numbers
from videoadapt.builders.data import (
    build_file_loader,
    build_test_loader,
    build_train_loader,
    build_train_views,
    data_remedy,
    file_reading,
    middle_frame,
    parse_views,
    test_records,
    test_views,
)
from videoadapt.builders.model import build_model, model_input
from videoadapt.builders.run import build_evaluator, build_learner, build_recipe, start_run
from videoadapt.builders.zero_shot import build_zero_shot

__all__ = [
    "build_evaluator",
    "build_file_loader",
    "build_learner",
    "build_model",
    "build_recipe",
    "build_test_loader",
    "build_train_loader",
    "build_train_views",
    "build_zero_shot",
    "check_checkpoint",
    "checkpoint_config",
    "class_names",
    "data_remedy",
    "file_reading",
    "fill_model",
    "load_checkpoint",
    "middle_frame",
    "model_input",
    "numbers",
    "parse_views",
    "start_run",
    "test_records",
    "test_views",
]
