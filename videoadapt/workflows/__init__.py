"""Whole jobs as functions: what the programs in tools/ do, for Python."""

from videoadapt.workflows.reporting import write_report
from videoadapt.workflows.testing import Tested, test_config
from videoadapt.workflows.training import train_config

__all__ = ["Tested", "test_config", "train_config", "write_report"]
