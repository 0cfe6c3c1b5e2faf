"""What a whole model costs: a training step and its memory, and inference."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from videoadapt.adapters.attach import merge_linears
from videoadapt.benchmarks.peers import Aim
from videoadapt.benchmarks.rows import Side, rows
from videoadapt.builders import build_model
from videoadapt.config import ModelConfig
from videoadapt.engine.cost import saved_bytes, training_step
from videoadapt.engine.precision import autocast
from videoadapt.models.backbone import set_checkpointing

_CLIP = {"backbone": "vit_base_patch16_clip_quickgelu_224", "pretrained": "none", "num_classes": 174}
_LOKI, _ADAPTER, _AIM = "loki[48,97,48]", "adapter[192]", "AIM's own block[192]"
_SLOTS = {_LOKI: {"kind": "loki", "widths": [48, 97, 48]}, _ADAPTER: {"kind": "adapter", "widths": [192]}}
_TUNERS = {
    "karst[2,8,8]": {"kind": "karst", "rst": "channel"},
    "lora[4]": {"kind": "lora"},
    "fact[16]": {"kind": "fact"},
}


class ModelBench:
    """The same clips (clips 3 frames side side) for every model.

    Args:
        options: timm's keywords, to make the models smaller; empty for ViT-B/16.
    """

    def __init__(self, clips: Tensor, precision: str = "fp32", options: Mapping[str, Any] | None = None) -> None:
        self.clips, self.precision, self.options = clips, precision, dict(options or {})
        self.frames, self.device = clips.shape[2], clips.device

    def steps(self, rounds: int) -> list[dict[str, Any]]:
        """Training steps: LoKi, Adapter and AIM's own block, and what activation checkpointing makes of ours."""
        models = {**{name: self._in_slots(spec) for name, spec in _SLOTS.items()}, _AIM: self._aim()}
        sides = {name: self._step(model) for name, model in models.items()}
        pairs = [(_LOKI, _ADAPTER), (_LOKI, _AIM), (_ADAPTER, _AIM)]
        for name in _SLOTS:
            for mode in ("mlp", "block"):
                label = f"{name} {mode} checkpointing"
                sides[label] = self._step(models[name], mode)
                pairs += [(label, name), (label, _AIM)]
        return rows(sides, rounds, pairs)

    def forwards(self, rounds: int) -> list[dict[str, Any]]:
        """A training step of each method against its own forward pass."""
        models = {name: self._in_slots(spec) for name, spec in _SLOTS.items()}
        models |= {name: self._in_linears(spec) for name, spec in _TUNERS.items()}
        found = []
        for name, model in models.items():
            found += rows({f"{name} step": self._step(model), "its forward": Side(self._forward(model))}, rounds)
        return found

    def merged(self, rounds: int) -> list[dict[str, Any]]:
        """Inference with merged tuners against the bare backbone."""
        models = {f"{name} merged": merge_linears(self._in_linears(spec, time=False)) for name, spec in _TUNERS.items()}
        models["the bare backbone"] = self._build({})
        sides = {name: Side(torch.inference_mode()(self._forward(model.eval()))) for name, model in models.items()}
        return rows(sides, rounds, [(name, "the bare backbone") for name in models if name.endswith("merged")])

    def compare(self, sections: Mapping[str, ModelConfig], rounds: int) -> list[dict[str, Any]]:
        """Training steps of any two model sections, the second being the peer."""
        return rows({name: self._step(build_model(s, self.device)) for name, s in sections.items()}, rounds)

    def _step(self, model: nn.Module, mode: str = "none") -> Side:
        step = training_step(model, self.clips, self.precision)
        kept = partial(saved_bytes, model, self.clips, self.precision)
        return Side(_in_mode(model, mode, step), _in_mode(model, mode, kept)())

    def _forward(self, model: nn.Module) -> Callable[[], Any]:
        def forward() -> None:
            with autocast(self.device, self.precision):
                model(self.clips)

        return forward

    def _in_slots(self, spec: dict[str, Any]) -> nn.Module:
        return self._build({"slots": {slot: spec for slot in ("time_out", "space_out", "mlp_side")}})

    def _in_linears(self, spec: dict[str, Any], time: bool = True) -> nn.Module:
        attention = {"qkv": spec, "proj": spec}
        views = {"space": attention, "mlp": {"fc1": spec, "fc2": spec}}
        zero = {**spec, "rst": "channel"} if spec["kind"] == "fact" else spec  # the time branch must start at zero
        timed = {"time": {"qkv": spec, "proj": zero}} if time else {}
        return self._build({"linears": {**views, **timed}})

    def _build(self, section: dict[str, Any]) -> nn.Module:
        base = {**_CLIP, "num_frames": self.frames, "backbone_options": self.options, "unfreeze": ["norm"]}
        return build_model(ModelConfig.model_validate({**base, **section}), self.device)

    def _aim(self) -> nn.Module:
        sizes = {"dim": "embed_dim", "depth": "depth", "heads": "num_heads", "patch": "patch_size", "size": "img_size"}
        given = {ours: self.options[theirs] for ours, theirs in sizes.items() if theirs in self.options}
        return Aim(frames=self.frames, width=192, **given).to(self.device)


def _in_mode(model: nn.Module, mode: str, call: Callable[[], Any]) -> Callable[[], Any]:
    """``call`` with activation checkpointing set; other models than ours have none."""
    if not hasattr(model, "backbone"):
        return call

    def run() -> Any:
        set_checkpointing(model.backbone, mode)
        return call()

    return run
