"""What one adapter costs, forward and backward, on the tokens of a clip."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from videoadapt.adapters.kan.pieces import has_compiler
from videoadapt.adapters.slots.adapter import Adapter
from videoadapt.adapters.slots.kan import KAN
from videoadapt.adapters.slots.loki import LoKi
from videoadapt.adapters.tuners.karst import KarstLinear
from videoadapt.benchmarks.peers import BuiltKarstLinear, composed_loki
from videoadapt.benchmarks.rows import Side, rows
from videoadapt.engine.cost import kept_bytes, packed_bytes
from videoadapt.engine.precision import autocast

log = logging.getLogger(__name__)
_LOKI, _SMALL, _ADAPTER = "loki[48,97,48]", "loki[16,33,16]", "adapter[192]"
_KAN, _COMPOSED = "kan[11]", "recursive splines[48,97,48]"


class AdapterBench:
    """The same tokens (8 tokens/8 width) and gradients for every module; bytes count the input."""

    def __init__(self, tokens: int, device: torch.device, precision: str, width: int = 768) -> None:
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randn(8, tokens // 8, width, generator=generator).to(device)
        self.device, self.precision, self.width = device, precision, width

    def slots(self, rounds: int) -> list[dict[str, Any]]:
        """LoKi in the shapes of its paper against the Adapter, and against the recursion its authors used."""
        modules = {
            _LOKI: LoKi(self.width, widths=[48, 97, 48]),
            _SMALL: LoKi(self.width, widths=[16, 33, 16]),
            _KAN: KAN(self.width, widths=[11]),
            _ADAPTER: Adapter(self.width, widths=[192]),
            _COMPOSED: composed_loki(self.width, [48, 97, 48]),
        }
        pairs = [(_LOKI, _ADAPTER), (_SMALL, _ADAPTER), (_KAN, _ADAPTER), (_LOKI, _COMPOSED)]
        return rows({name: self._eager(module) for name, module in modules.items()}, rounds, pairs)

    def compiled(self, rounds: int) -> list[dict[str, Any]]:
        """LoKi against the Adapter, both through torch.compile; nothing where it has no compiler to write for."""
        if self.device.type == "cpu" and not has_compiler():
            log.warning("torch.compile finds no C++ compiler: the compiled rows are left out")
            return []
        modules = {_LOKI: LoKi(self.width, widths=[48, 97, 48]), _ADAPTER: Adapter(self.width, widths=[192])}
        return rows({f"{name} compiled": self._compiled(module) for name, module in modules.items()}, rounds)

    def karst(self, rounds: int) -> list[dict[str, Any]]:
        """KARST's factors against building its weight delta."""
        found = []
        for place, outputs in (("qkv", 3 * self.width), ("proj", self.width)):
            base = nn.Linear(self.width, outputs).requires_grad_(False)
            ours, built = (kind(base, m=8, kernels=2, rank=8) for kind in (KarstLinear, BuiltKarstLinear))
            sides = {f"karst[2,8,8] {place}": self._eager(ours), "karst[2,8,8] by its weight delta": self._eager(built)}
            found += rows(sides, rounds)
        return found

    def _eager(self, module: nn.Module) -> Side:
        module.to(self.device)
        leaf = self.tokens.nbytes
        return Side(self._step(module), kept_bytes(lambda: self._forward(module, self._input() * 1).sum()) - leaf)

    def _compiled(self, module: nn.Module) -> Side:
        compiled = torch.compile(module.to(self.device))
        kept = packed_bytes(lambda: self._forward(compiled, self._input() * 1).sum(), module)
        return Side(self._step(compiled), kept)

    def _step(self, module: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        leaf = self._input()
        with torch.no_grad():
            gradient = torch.randn_like(self._forward(module, leaf))

        def step() -> None:
            leaf.grad = None
            self._forward(module, leaf).backward(gradient)

        return step

    def _forward(self, module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            return module(x)

    def _input(self) -> Tensor:
        return self.tokens.clone().requires_grad_()
