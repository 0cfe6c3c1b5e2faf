from . import adapters, builders, config, data, engine, errors, models, video, workflows
from .builders import build_model, load_checkpoint
from .config import load_config
from .errors import UserError
from .workflows import adapt, classify, classify_windows

__version__: str
__all__ = [
    "UserError",
    "adapt",
    "adapters",
    "build_model",
    "builders",
    "classify",
    "classify_windows",
    "config",
    "data",
    "engine",
    "errors",
    "load_checkpoint",
    "load_config",
    "models",
    "video",
    "workflows",
]
