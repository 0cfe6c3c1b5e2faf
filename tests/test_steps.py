"""A step of training: what is held, read late, skipped on the device, or compiled; and what cannot be."""

import copy
import os
import re
import signal
from functools import partial
from shutil import which

import pytest
import torch
from chaos import compare
from conftest import at_step, perturb, tiny

from videoadapt import builders
from videoadapt.config import Config
from videoadapt.data.datasets import Sample
from videoadapt.engine.compiled import compile_blocks
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.learner import Learner
from videoadapt.engine.precision import hold_frozen
from videoadapt.errors import UserError
from videoadapt.models.backbone import blocks_of

CPU = torch.device("cpu")
LOKI = {"slots": {"time_out": {"kind": "loki", "widths": [4, 9, 4]}, "mlp_side": {"kind": "adapter", "widths": [8]}}}
LINEARS = {"space": {"qkv": {"kind": "karst"}, "proj": {"kind": "fact"}}, "mlp": {"fc1": {"kind": "lora"}}}
METHODS = {
    "slots": LOKI,
    "linears": {"linears": {**LINEARS, "mlp": {"fc1": {"kind": "lora"}, "fc2": {"kind": "ssf"}}}},
    "prompts": {"prompt": {"tokens": 2, "deep": True}, "unfreeze": ["norms"]},
    "biases": {"unfreeze": ["bias"]},
}


def _model(section, seed=1):
    model = builders.build_model(tiny(**section), CPU).train()
    perturb(model, seed)
    return model


def _batch(clips=2):
    generator = torch.Generator().manual_seed(0)
    views = torch.randint(0, 256, (clips, 1, 3, 4, 32, 32), generator=generator, dtype=torch.uint8)
    return [Sample(i, i, view, path=f"{i}.mp4") for i, view in enumerate(views)]


def _learner(model, **run):
    config = Config.model_validate({"model": tiny().model_dump(), "data": {"num_classes": 5}, "run": run})
    return builders.build_learner(config, model, 10, Ranks(CPU))


@pytest.mark.parametrize("method", METHODS)
def test_frozen_weights_in_16_bits_give_the_same_bits(method):
    model = _model(METHODS[method])
    held = copy.deepcopy(model)
    hold_frozen(held, "bf16")
    frozen = [p for p in held.backbone.parameters() if not p.requires_grad and p.ndim > 1]
    assert method == "biases" or any(p.dtype == torch.bfloat16 for p in frozen)
    assert all(p.dtype == torch.float32 for p in held.parameters() if p.requires_grad)
    clips, gradients = torch.cat([sample.views for sample in _batch()]), []
    for each in (model, held):
        with torch.autocast("cpu", torch.bfloat16):
            logits = each(clips)
        logits.float().logsumexp(1).sum().backward()
        gradients.append([logits, *(p.grad for p in each.parameters() if p.requires_grad)])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


def test_nothing_is_held_in_fp32():
    model = _model(LOKI)
    hold_frozen(model, "fp32")
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("late", [1, 2])
def test_outcomes_read_late_tell_the_same(problem, run, tmp_path, monkeypatch, late):
    monkeypatch.setattr("videoadapt.engine.train._lateness", lambda ranks: late)
    assert run("run.log_every=1") == (0, "")
    compare(problem[1], tmp_path / "run")


def test_a_run_whose_outcomes_come_late_stops_with_all_of_them(problem, run, tmp_path, monkeypatch):
    monkeypatch.setattr("videoadapt.engine.train._lateness", lambda ranks: 1)
    at_step(monkeypatch, 2, partial(os.kill, os.getpid(), signal.SIGTERM))
    code, err = run()
    assert code == 75 and err == "stopped by SIGTERM after step 3; run.resume=auto goes on\n"
    assert (tmp_path / "run" / "resume_00000003.pt").exists()
    assert run() == (0, "")
    compare(problem[1], tmp_path / "run")


def test_a_bad_step_is_told_with_its_own_number_and_videos(run, monkeypatch, caplog):
    step, calls = Learner.step, []

    def poisoned(self, batches, *arguments):
        calls.append([sample.path for sample in batches[0]])
        if len(calls) == 2:
            next(p for p in self.model.parameters() if p.requires_grad).register_hook(lambda grad: grad * float("nan"))
        return step(self, batches, *arguments)

    monkeypatch.setattr(Learner, "step", poisoned)
    monkeypatch.setattr("videoadapt.engine.train._lateness", lambda ranks: 1)
    code, err = run("run.max_bad_steps=1")
    assert code == 2 and len(calls) == 4  # one more was begun when the last straw was read
    told = [message for message in caplog.messages if "skipped" in message]
    assert [message.partition(":")[0] for message in told] == ["step 2 skipped"]
    assert f"on {', '.join(calls[1])}" in told[0] and f"on {', '.join(calls[2])}" in err
    assert re.search("step 3 skipped: gradient norm nan on .*; 2 steps were skipped", err)


def test_fp16_looks_for_its_loss_scale_and_fails_below_one():
    model = torch.nn.Linear(6, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    learner = Learner(model, optimizer, None, scaler)
    before = model.weight.detach().clone()
    outcomes = []
    for _ in range(4):
        hook = model.weight.register_hook(lambda grad: grad * float("inf"))
        outcomes.append(learner.step([[Sample(0, 0, torch.ones(1, 6))]]).outcome())
        hook.remove()
    assert [(o.skipped, o.failed) for o in outcomes] == [(True, False)] * 2 + [(True, True)] * 2
    assert torch.equal(model.weight, before)
    assert not learner.step([[Sample(0, 0, torch.ones(1, 6))]]).outcome().skipped
    assert not torch.equal(model.weight, before)


@pytest.mark.skipif(not which("g++"), reason="torch.compile needs g++")
def test_compiled_blocks_compute_the_same_and_repeat_themselves():
    torch._dynamo.reset()
    eager = _model({"slots": {"mlp_side": LOKI["slots"]["mlp_side"]}})
    compiled = [copy.deepcopy(eager) for _ in range(2)]
    names = [name for name, _ in eager.named_parameters()]
    losses = []
    for model in (eager, *compiled):
        if model is not eager:
            compile_blocks(blocks_of(model.backbone))
        assert [name for name, _ in model.named_parameters()] == names
        learner = _learner(model)
        losses.append([])
        for number in range(2):
            torch.manual_seed(number)
            learner.schedule.step_update(5)
            losses[-1].append(learner.step([_batch()]).outcome().loss)
    assert losses[1] == losses[2]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)


CARD = Ranks(torch.device("cuda", 0))
REFUSED = [
    (Ranks(CPU), {"run": {"compile": "graph"}}, "run.compile: graph is for GPUs; on a CPU use blocks or none"),
    (CARD, {"run": {"compile": "graph", "shard": True}}, "run.compile: graph does not go with run.shard"),
    (CARD, {"run": {"compile": "blocks", "shard": True}}, "run.compile: blocks does not go with run.shard"),
    (
        CARD,
        {"run": {"compile": "graph", "activation_checkpointing": "mlp"}},
        "run.compile: graph does not go with run.activation_checkpointing=mlp; use blocks, or",
    ),
    (
        CARD,
        {"run": {"compile": "graph"}, "optim": {"accumulate": 2}},
        "run.compile: graph does not go with optim.accumulate=2; use blocks, or optim.accumulate=1",
    ),
]


@pytest.mark.parametrize(("ranks", "sections", "message"), REFUSED, ids=[row[2][:60] for row in REFUSED])
def test_what_cannot_be_compiled_is_refused(ranks, sections, message):
    config = Config.model_validate({"model": tiny().model_dump(), "data": {"num_classes": 5}, **sections})
    with pytest.raises(UserError, match=re.escape(message)):
        builders.build_learner(config, _model({}), 10, ranks)


def test_without_a_compiler_blocks_are_refused(monkeypatch):
    monkeypatch.setattr("videoadapt.builders.run.has_compiler", lambda: False)
    with pytest.raises(UserError, match="finds no C\\+\\+ compiler; install g\\+\\+, or use none"):
        _learner(_model({}), compile="blocks")


def test_what_is_compiled_does_not_change_on_the_way(run, monkeypatch):
    at_step(monkeypatch, 3, partial(os.kill, os.getpid(), signal.SIGTERM))
    assert run()[0] == 75
    code, err = run("run.compile=blocks")
    assert code == 2 and "the run began with run.compile=none, now it is blocks" in err
