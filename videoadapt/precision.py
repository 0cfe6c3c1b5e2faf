"""Where autocast has no say."""

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device: str) -> AbstractContextManager:
    """Operations in the precision of their operands."""
    # On the meta device there is no autocast; torch's own question, is_autocast_available, breaks a compiled graph.
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)
