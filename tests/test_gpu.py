"""What must hold on a GPU, and the same on the CPU where that is quick: python -m pytest -m gpu

Without a GPU the tests that need one are skipped, and the summary says how many.
"""

import itertools
import random
import warnings

import pytest
import torch
from chaos import compare, train, write_problem
from gpu_checks import (
    EVERY_METHOD,
    HAS_GPU,
    LOKI,
    config_of,
    error,
    evaluated,
    module_errors,
    no_fast_kernels,
    one_step,
    samples,
    take,
    trained,
    within,
)

from videoadapt import builders
from videoadapt.adapters import KANLinear
from videoadapt.adapters.slots.loki import LoKi
from videoadapt.engine.distributed import Ranks

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
NEEDS_GPU = [pytest.mark.gpu, pytest.mark.skipif(not HAS_GPU, reason="torch sees no GPU")]
# Norm of the error against float64, by precision; of gradients three times as much.
LIMITS = {"fp32": 2e-6, "tf32": 1e-3, "bf16": 1e-2, "fp16": 2e-3}
SIZES = [(48, 97), (97, 48), (16, 33), (64, 129), (129, 64), (768, 11), (11, 768), (5, 130), (1, 1)]


def rows(names, *, cpu=(), gpu=()):
    """A test on the CPU with some rows, and on the GPU with others."""
    here = [pytest.param(CPU, *row, id="-".join(["cpu", *map(str, row)])) for row in cpu]
    there = [pytest.param(CUDA, *row, id="-".join(["gpu", *map(str, row)]), marks=NEEDS_GPU) for row in gpu]
    return pytest.mark.parametrize(",".join(["device", *names]), [*here, *there])


@pytest.fixture(autouse=True)
def _attention():
    """As a run sets it, whatever an earlier test has done."""
    if HAS_GPU:
        torch.backends.cuda.enable_cudnn_sdp(False)


@rows(
    ["sizes", "kind"], cpu=[(SIZES[0], "fp32"), (SIZES[1], "bf16")], gpu=itertools.product(SIZES, LIMITS)
)  # fmt: skip
def test_a_kan_layer_is_as_exact_as_its_precision(device, sizes, kind):
    for tokens in (65, 1000):
        _check(module_errors(KANLinear(*sizes), sizes[0], tokens, kind, device), kind)


@rows(
    ["tokens", "kind"], cpu=[(65, "fp32"), (65, "bf16")], gpu=itertools.product((1, 65, 1000, 6304), LIMITS)
)  # fmt: skip
def test_loki_is_as_exact_as_its_precision(device, tokens, kind):
    _check(module_errors(LoKi(256, widths=[48, 97, 48], scale=2.0), 256, tokens, kind, device), kind)


def _check(errors, kind):
    assert within(errors.pop("differ"), 0)
    for name, found in errors.items():
        assert within(found, LIMITS[kind] * (1 if name == "y" else 3)), name


@rows(["method"], cpu=[("loki",), ("karst",)], gpu=[(name,) for name in EVERY_METHOD])
def test_every_method_computes_what_the_cpu_does(device, method):
    exact = one_step(EVERY_METHOD[method], CPU, "fp32")
    for precision, limit in (("fp32", 2e-4), ("bf16", 5e-2)):
        logits, gradients = one_step(EVERY_METHOD[method], device, precision)
        assert within(error(logits, exact[0]), limit), precision
        assert within(error(gradients, exact[1]), 2 * limit), precision


@rows(["method"], cpu=[("loki",)], gpu=[("loki",), ("karst",), ("st_adapter",)])
def test_checkpointing_changes_nothing_to_speak_of(device, method):
    plain = one_step(EVERY_METHOD[method], device, "bf16")
    for mode in ("mlp", "block"):
        again = one_step(EVERY_METHOD[method], device, "bf16", mode)
        assert all(within(error(*pair), 1e-3) for pair in zip(again, plain, strict=True)), mode


@rows([], gpu=[()])
def test_kernels_compute_what_torchs_operations_do(device, monkeypatch):
    fast = one_step(EVERY_METHOD["loki"], device, "fp32")
    with no_fast_kernels(monkeypatch):
        plain = one_step(EVERY_METHOD["loki"], device, "fp32")
    assert all(within(error(*pair), 1e-4) for pair in zip(fast, plain, strict=True))


@rows(["method"], cpu=[("loki",)], gpu=[(name,) for name in ("loki", "karst", "prompt, deep", "full")])
def test_a_step_gives_the_same_bits_twice(device, method):
    """Short sequences, such as a ViT-B/16's, need no deterministic algorithms for that."""
    one, other = (trained(EVERY_METHOD[method], device, "bf16") for _ in range(2))
    assert within(sum(not torch.equal(a, b) for a, b in zip(one, other, strict=True)), 0)


@rows(["key"], gpu=[("run.deterministic=true",)])
def test_a_killed_run_ends_with_the_same_bits(device, key, tmp_path):
    config = write_problem(tmp_path, videos=6, epochs=3)
    overrides = [key, f"run.device={device}", "run.eval_every=1", "run.save_every=1", "run.precision=bf16"]
    job = train(config, tmp_path / "whole", 1, *overrides)
    assert job.wait() == [0], job.output()
    job = train(config, tmp_path / "killed", 1, *overrides)
    while job.wait(0.02) is None and not list((tmp_path / "killed").glob("resume_*")):
        pass
    job.kill(random.Random(0))
    job = train(config, tmp_path / "killed", 1, *overrides)
    assert job.wait() == [0], job.output()
    compare(tmp_path / "whole", tmp_path / "killed")


@rows(["count"], cpu=[(3,)], gpu=[(19,)])
def test_a_test_scores_as_the_cpu_does(device, count):
    assert within(error(evaluated(device, count), evaluated(CPU, count)), 1e-4)


@rows([], gpu=[()])
def test_a_step_waits_for_nothing_but_its_outcome(device):
    """For which it asks an event, and that is not what CUDA reports here."""
    config = config_of(EVERY_METHOD["loki"], "bf16")
    learner = builders.build_learner(config, builders.build_model(config.model, device), 100, Ranks(device))
    learner.model.train()
    take(learner, [samples()])
    assert _waits(lambda: torch.zeros(1, device=device).item()) == 1
    assert _waits(lambda: [take(learner, [samples()]) for _ in range(4)]) == 0


def _waits(call):
    """As torch sees them."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in found)


@rows([], gpu=[()])
def test_an_overflow_of_fp16_changes_nothing_but_the_scale(device):
    config = config_of({"slots": {"time_out": LOKI}}, "fp16")
    learner = builders.build_learner(config, builders.build_model(config.model, device), 100, Ranks(device))
    learner.model.train()
    learner.scaler.load_state_dict({**learner.scaler.state_dict(), "scale": 2.0**40})
    before = [parameter.detach().clone() for parameter in learner.model.parameters()]
    outcome = take(learner, [samples()])
    changed = sum(not torch.equal(a, b) for a, b in zip(before, learner.model.parameters(), strict=True))
    assert within(changed, 0) and within(not (outcome.skipped and not outcome.failed), 0)
    for _ in range(40):
        outcome = take(learner, [samples()])
    assert not outcome.skipped


@rows(["mode"], gpu=[("default",), ("reduce-overhead",)])
def test_a_compiled_model_computes_the_same(device, mode):
    plain = one_step(EVERY_METHOD["loki"], device, "bf16")
    torch.compiler.reset()
    wrap = lambda model: torch.compile(model, fullgraph=True, mode=mode)  # noqa: E731
    compiled = one_step(EVERY_METHOD["loki"], device, "bf16", wrap=wrap)
    assert all(within(error(*pair), 3e-2) for pair in zip(compiled, plain, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_GPU or torch.cuda.device_count() < 2, reason="torch does not see two GPUs")
def test_a_model_may_stand_on_another_gpu_than_the_current():
    here, there = (one_step(EVERY_METHOD["loki"], torch.device("cuda", number), "fp32") for number in (0, 1))
    assert torch.cuda.current_device() == 0
    assert all(within(error(*pair), 1e-5) for pair in zip(there, here, strict=True))
