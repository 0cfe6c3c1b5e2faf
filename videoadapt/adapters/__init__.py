"""The catalogue: every way to adapt a frozen model, by the word a config uses.

A *slot adapter* is built as ``cls(dim, **options)`` and maps tokens to a delta of the same shape, zero when fresh.
With ``needs_layout = True`` it is called as ``slot(x, layout)`` and cannot stand in the time view, which has frames
in place of patches. With ``takes_origin = True`` it is called as ``slot(x, origin)``, where an origin tells how x
can be made again from what waits for the backward pass anyway, so that x need not. A *linear tuner* is built as
``cls(linear, **options)``, owns the frozen linear, computes the same function when fresh (or zero, with
``zero_start=True``) and can be ``merged()`` into a plain linear; it finds the origin of its input by ``origin_of``.
``Prompt`` is the one thing that is neither.
"""

from videoadapt.adapters.kan.linear import KANLinear
from videoadapt.adapters.prompt import Prompt
from videoadapt.adapters.slots.adapter import Adapter
from videoadapt.adapters.slots.adaptformer import AdaptFormer
from videoadapt.adapters.slots.convpass import Convpass
from videoadapt.adapters.slots.kan import KAN
from videoadapt.adapters.slots.loki import LoKi
from videoadapt.adapters.slots.st_adapter import STAdapter
from videoadapt.adapters.tuners.bitfit import BitfitLinear
from videoadapt.adapters.tuners.fact import FactLinear
from videoadapt.adapters.tuners.karst import KarstLinear
from videoadapt.adapters.tuners.lora import LoraLinear
from videoadapt.adapters.tuners.ssf import SsfLinear

SLOTS = {
    "adapter": Adapter,
    "adaptformer": AdaptFormer,
    "convpass": Convpass,
    "kan": KAN,
    "loki": LoKi,
    "st_adapter": STAdapter,
}
TUNERS = {
    "bitfit": BitfitLinear,
    "fact": FactLinear,
    "karst": KarstLinear,
    "lora": LoraLinear,
    "ssf": SsfLinear,
}

__all__ = ["SLOTS", "TUNERS", "KANLinear", "KarstLinear", "LoraLinear", "Prompt"]
