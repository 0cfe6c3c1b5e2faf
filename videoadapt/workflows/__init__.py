"""Whole jobs as functions: what the commands do, for Python.

What draws is imported from its module, ``workflows.attention``, ``workflows.reporting``: that takes a second.
"""

from videoadapt.builders import load_checkpoint
from videoadapt.workflows.adaptation import adapt
from videoadapt.workflows.analysis import analyse
from videoadapt.workflows.ensembles import fuse_tests
from videoadapt.workflows.export import export_graph, export_state
from videoadapt.workflows.methods import METHODS
from videoadapt.workflows.prediction import (
    Answer,
    Timeline,
    best,
    classify,
    classify_files,
    classify_windows,
    media_files,
    own_names,
    write_annotated,
)
from videoadapt.workflows.testing import Tested, test_config
from videoadapt.workflows.training import train_config

__all__ = [
    "METHODS",
    "Answer",
    "Tested",
    "Timeline",
    "adapt",
    "analyse",
    "best",
    "classify",
    "classify_files",
    "classify_windows",
    "export_graph",
    "export_state",
    "fuse_tests",
    "load_checkpoint",
    "media_files",
    "own_names",
    "test_config",
    "train_config",
    "write_annotated",
]
