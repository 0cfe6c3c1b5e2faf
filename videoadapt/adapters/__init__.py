"""The catalogue: every way to adapt a frozen model, by the word a config uses.

A *slot adapter* is built as ``cls(dim, **options)`` and maps tokens to a delta of the same shape, zero when fresh.
A *linear tuner* is built as ``cls(linear, **options)``, owns the frozen linear, computes the same function when
fresh (or zero, with ``zero_start=True``) and can be ``merged()`` into a plain linear.
"""

from videoadapt.adapters.adapter import Adapter
from videoadapt.adapters.kan import KAN, KANLinear
from videoadapt.adapters.karst import KarstLinear
from videoadapt.adapters.loki import LoKi
from videoadapt.adapters.lora import LoraLinear

SLOTS = {"adapter": Adapter, "kan": KAN, "loki": LoKi}
TUNERS = {"karst": KarstLinear, "lora": LoraLinear}

__all__ = ["SLOTS", "TUNERS", "KANLinear", "KarstLinear", "LoraLinear"]
