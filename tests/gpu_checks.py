"""What must hold on a GPU, as functions of a device: the same code runs on a CPU, so that it is tried everywhere.

On the fake GPU too (python tests/fakegpu/build.py python -m pytest -n 0 -m gpu), where values mean nothing and are not
looked at.
"""

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt import builders
from videoadapt.config import Config
from videoadapt.data.datasets import Sample, TestSample
from videoadapt.engine.distributed import Ranks
from videoadapt.models.backbone import set_checkpointing
from videoadapt.workflows.methods import METHODS

HAS_GPU = torch.cuda.is_available()
IS_FAKE = HAS_GPU and "fake" in torch.cuda.get_device_name(0)
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SMALL = {"embed_dim": 128, "depth": 2, "num_heads": 4, "img_size": 64}
LOKI = {"kind": "loki", "widths": [48, 97, 48]}
_SPARE = {"kind": "loki", "widths": [16, 33, 16]}


def _everywhere(spec: dict, zero: dict | None = None) -> dict[str, Any]:
    space = {"qkv": spec, "proj": spec}
    return {"linears": {"time": {"qkv": spec, "proj": zero or spec}, "space": space, "mlp": {"fc1": spec, "fc2": spec}}}


def _within(spec: dict, **more: Any) -> dict[str, Any]:
    return {"linears": {"space": {"qkv": spec, "proj": spec}, "mlp": {"fc1": spec, "fc2": spec}}, **more}


EVERY_METHOD: dict[str, dict[str, Any]] = {
    **{name: make(128, True) for name, make in METHODS.items()},
    "kan": {"slots": {slot: {"kind": "kan", "widths": [11]} for slot in ("time_out", "space_out", "mlp_side")}},
    "convpass": {"slots": {"space_side": {"kind": "convpass", "dropout": 0.1}, "mlp_side": {"kind": "convpass"}}},
    "fact": _everywhere({"kind": "fact", "dropout": 0.1}, {"kind": "fact", "rst": "channel"}),
    "ssf": _within({"kind": "ssf"}, slots={"time_out": LOKI}, unfreeze=["norms"]),
    "bitfit": _within({"kind": "bitfit"}),
    "lora, dropout": _everywhere({"kind": "lora", "dropout": 0.1}),
    "karst, one scale": _everywhere({"kind": "karst", "rst": "scalar"}),
    "prompt": {"prompt": {"tokens": 50, "dropout": 0.1}},
    "prompt, deep": {"prompt": {"tokens": 10, "deep": True}},
    "every slot": {
        "slots": dict.fromkeys(
            ("time_in", "time_out", "space_in", "space_out", "space_side", "mlp_in", "mlp_side"), _SPARE
        )
    },
    "st_adapter before the mlp": {"slots": {"mlp_in": {"kind": "st_adapter"}, "space_in": {"kind": "st_adapter"}}},
    "space first": {"slots": {"time_out": LOKI}, "order": "space_first"},
    "no residual": {"slots": {"space_out": LOKI}, "space_residual": False},
    "loki and karst": {"slots": {"time_out": LOKI}, "linears": {"mlp": {"fc1": {"kind": "karst"}}}},
    "full": {"unfreeze": ["all"]},
    "biases": {"unfreeze": ["bias"]},
    "drop_path": {"slots": {"time_out": LOKI, "mlp_side": LOKI}, "drop_path": 0.2},
    "drop_path on branches": {
        "slots": {"time_out": LOKI},
        "drop_path": 0.2,
        "drop_path_on": "branches",
        "dropout": 0.5,
    },
}


def within(value: float, limit: float) -> bool:
    """Whether it is, and a number; on the fake GPU nobody can tell."""
    return IS_FAKE or value <= limit


def error(ours: Tensor, exact: Tensor) -> float:
    """Norm of the difference, relative to the norm of ``exact``."""
    ours, exact = ours.detach().double().cpu(), exact.detach().double().cpu()
    return float((ours - exact).norm() / exact.norm().clamp_min(1e-30))


def config_of(section: dict[str, Any], precision: str = "fp32", **run: Any) -> Config:
    backbone = {"backbone": "vit_base_patch16_clip_quickgelu_224", "backbone_options": SMALL, "pretrained": "none"}
    model = {**backbone, "num_frames": 8, "num_classes": 48, **section}
    optim = {"batch_size": 2, "clip_grad": 1.0, "label_smoothing": 0.1}
    raw = {"model": model, "data": {"num_classes": 48}, "optim": optim, "run": {"precision": precision, **run}}
    return Config.model_validate(raw)


def samples(count: int = 2) -> list[Sample]:
    """Random clips, the same every time."""
    generator = torch.Generator().manual_seed(7)
    views = torch.randint(0, 256, (count, 1, 3, 8, 64, 64), dtype=torch.uint8, generator=generator)
    return [Sample(i, i % 48, view.pin_memory() if HAS_GPU else view, path=f"{i}") for i, view in enumerate(views)]


def test_samples(count: int, clips: int, crops: int) -> list[TestSample]:
    generator = torch.Generator().manual_seed(8)
    found = []
    for index in range(count):
        shape = (clips * 8, 3, 64, 64 + 20 * (crops - 1))
        pictures = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        rows = tuple(torch.arange(8 * k, 8 * k + 8) for k in range(clips))
        windows = tuple((slice(0, 64), slice(left, left + 64)) for left in range(0, 20 * crops, 20))
        found.append(
            TestSample(index, 0, pictures.pin_memory() if HAS_GPU else pictures, rows, windows, decoder="pyav")
        )
    return found


def poison(device: torch.device) -> None:
    """Freed memory is full of NaN, so that what is read and was never written shows."""
    if device.type == "cuda":
        torch.full((2**26,), float("nan"), device=device)


def module_errors(module: nn.Module, width: int, tokens: int, kind: str, device: torch.device) -> dict[str, float]:
    """Of output and gradients against float64 on the CPU, and how many tensors differ when it is done twice.

    Args:
        module: of fp32, (tokens width) to (tokens ...).
        kind: fp32, tf32 (fp32 with rounded factors), bf16 or fp16, of the tokens.
    """
    generator = torch.Generator().manual_seed(tokens)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / max(parameter.shape[-1], 4) ** 0.5)
    x = (torch.rand(tokens, width, generator=generator) * 6 - 3).to(DTYPES[kind])
    wanted, grad = _gradients(copy.deepcopy(module).double(), x.double(), None)
    poison(device)
    module, x, grad = module.to(device), x.to(device), grad.to(device, DTYPES[kind])
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    try:
        with torch.autocast(device.type, DTYPES[kind], enabled=kind in ("bf16", "fp16")):
            found, again = (_gradients(module, x, grad)[0] for _ in range(2))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    errors = {name: error(found[name], tensor) for name, tensor in wanted.items()}
    return {**errors, "differ": sum(not torch.equal(found[name], again[name]) for name in found)}


def _gradients(module: nn.Module, x: Tensor, grad: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
    x = x.detach().requires_grad_()
    y = module(x)
    if grad is None:
        grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype)
    names = ["x", *(name for name, _ in module.named_parameters())]
    return {"y": y, **dict(zip(names, torch.autograd.grad(y, (x, *module.parameters()), grad), strict=True))}, grad


def one_step(
    section: dict[str, Any],
    device: torch.device,
    precision: str,
    checkpointing: str = "none",
    wrap: Callable[[nn.Module], Callable] = lambda model: model,
) -> tuple[Tensor, Tensor]:
    """Logits of a model that has learnt a little, without dropout, and all gradients end to end."""
    torch.manual_seed(0)
    model = builders.build_model(config_of(section).model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn(parameter.shape)
    model = model.to(device).eval()
    set_checkpointing(model.backbone, checkpointing)
    pixels = torch.stack([sample.views[0] for sample in samples(4)]).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits = wrap(model)(pixels)
    F.cross_entropy(logits.float(), torch.arange(4, device=device)).backward()
    grads = [p.grad.flatten().float() for _, p in sorted(model.named_parameters()) if p.grad is not None]
    return logits.detach(), torch.cat(grads)


def trained(section: dict[str, Any], device: torch.device, precision: str, steps: int = 3) -> list[Tensor]:
    """The trainable tensors after so many steps."""
    torch.manual_seed(1)
    config = config_of(section, precision)
    learner = builders.build_learner(config, builders.build_model(config.model, device), 100, Ranks(device))
    learner.model.train()
    for step in range(steps):
        torch.manual_seed(step)
        learner.schedule.step_update(step)
        take(learner, [samples()])
    return [parameter.detach().clone() for parameter in learner.model.parameters() if parameter.requires_grad]


def take(learner: Any, batches: list) -> Any:
    """A step, and what became of it."""
    return learner.step(batches).outcome()


def evaluated(device: torch.device, count: int) -> Tensor:
    """Scores of videos of a test in three clips and two crops, (videos classes)."""
    torch.manual_seed(2)
    config = config_of(EVERY_METHOD["loki"])
    model = builders.build_model(config.model, device)
    found = builders.build_evaluator(config, Ranks(device))(model, test_samples(count, 3, 2), count)
    assert found.index.tolist() == list(range(count))
    return torch.from_numpy(found.scores)


@contextlib.contextmanager
def no_fast_kernels(monkeypatch: Any) -> Any:
    """torch's own operations instead of Triton's kernels."""
    from videoadapt import gpu

    monkeypatch.setenv("VIDEOADAPT_TRITON", "0")
    gpu._run_on.cache_clear()
    try:
        yield
    finally:
        monkeypatch.delenv("VIDEOADAPT_TRITON")
        gpu._run_on.cache_clear()
