"""Adapt pretrained image models to video: one space-time block, a few million parameters."""

from videoadapt import adapters
from videoadapt.builders import build_model, load_checkpoint
from videoadapt.config import load_config
from videoadapt.errors import UserError
from videoadapt.workflows import adapt, classify, classify_windows

__version__ = "0.1.0"
__all__ = [
    "UserError",
    "__version__",
    "adapt",
    "adapters",
    "build_model",
    "classify",
    "classify_windows",
    "load_checkpoint",
    "load_config",
]
