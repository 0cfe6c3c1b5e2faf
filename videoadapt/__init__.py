"""Adapt pretrained image models to video: one space-time block, a few million parameters.

Names are imported when they are first used, so that ``videoadapt --help`` need not wait for torch.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
