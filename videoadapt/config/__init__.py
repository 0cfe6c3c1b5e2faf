"""The typed configuration.

A YAML file and ``key=value`` overrides become one frozen ``Config``. A dot in a key is a path, in the file as on the
command line, so ``space.qkv: {...}`` and ``space: {qkv: {...}}`` are the same. Anything unknown or of the wrong type
is a one-line ``UserError`` with the key's full path.
"""

from videoadapt.config.describe import described_config
from videoadapt.config.naming import STUDIES, find_config, packaged_configs
from videoadapt.config.reading import first_difference, load_config, make_config, override, validate
from videoadapt.config.sections import (
    DECODERS,
    WITHOUT_EFFECT,
    Config,
    DataConfig,
    ModelConfig,
    RunConfig,
    Section,
    check_views,
)
from videoadapt.config.study import Cell, Study, cells, load_study

__all__ = [
    "DECODERS",
    "STUDIES",
    "WITHOUT_EFFECT",
    "Cell",
    "Config",
    "DataConfig",
    "ModelConfig",
    "RunConfig",
    "Section",
    "Study",
    "cells",
    "check_views",
    "described_config",
    "find_config",
    "first_difference",
    "load_config",
    "load_study",
    "make_config",
    "override",
    "packaged_configs",
    "validate",
]
