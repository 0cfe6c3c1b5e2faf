"""Metrics, multi-view scoring, checkpoints and the training step, on small numbers."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import perturb, tiny
from torch import nn

from videoadapt.builders import build_model
from videoadapt.data.datasets import Sample, TestSample
from videoadapt.data.loaders import test_loader
from videoadapt.engine import metrics
from videoadapt.engine.checkpoint import load_trainable, read_checkpoint, save_checkpoint
from videoadapt.engine.evaluate import Evaluator
from videoadapt.engine.learner import Learner
from videoadapt.engine.optim import build_optimizer, build_schedule
from videoadapt.engine.precision import grad_scaler
from videoadapt.errors import UserError

TestSample.__test__ = test_loader.__test__ = False
CPU = torch.device("cpu")


def test_accuracies_by_hand():
    label = np.array([0, 0, 1, 2])
    scores = np.array([[3, 1, 0], [1, 3, 0], [0, 2, 1], [np.nan, np.nan, np.nan]])
    summary = metrics.summary(label, scores)
    assert summary["top1"] == 50 and summary["top5"] == 75 and summary["num_videos"] == 4
    assert summary["mean_class_accuracy"] == pytest.approx((50 + 100 + 0) / 3)
    assert [row["top1"] for row in summary["per_class"]] == [50, 100, 0]
    assert metrics.top_k_accuracy(label, scores, 2) == 75
    assert metrics.per_class_accuracy(label[:2], scores[:2])[1] == {"class": 1, "num_videos": 0, "top1": None}


class Sums(nn.Module):
    """Logits that depend on each view alone: its mean in class 1, zero elsewhere."""

    def __init__(self):
        super().__init__()
        self.embedded, self.calls = [], []

    def embed(self, frames):
        self.embedded.append(len(frames))
        return frames.float().mean((1, 2, 3))

    def classify(self, embedded):
        self.calls.append(len(embedded))
        means = embedded.mean(1)
        return torch.stack([torch.zeros_like(means), means, torch.zeros_like(means)], 1)


THREE = tuple((slice(0, 4), slice(left, left + 4)) for left in (0, 2, 4))


def _video(index, clips, windows=THREE, seed=0):
    frames = torch.randint(0, 5, (9, 3, 4, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return TestSample(index, index % 3, frames, torch.tensor(clips), windows)


def _samples(counts, bad=()):
    for index, count in enumerate(counts):
        if index in bad:
            yield TestSample(index, index % 3, unreadable="x.mp4: broken")
        else:
            yield _video(index, [[n, n + 1] for n in range(count)], THREE[: 1 + 2 * (index % 2)], seed=index)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
@pytest.mark.parametrize("fusion", ["softmax", "logits"])
def test_views_are_fused_per_video_whatever_the_batch(batch_size, fusion):
    counts = [3, 1, 7, 2, 4]
    result = Evaluator(CPU, fusion=fusion, batch_size=batch_size)(Sums(), _samples(counts), 5)
    for sample in _samples(counts):
        means = sample.views().float().mean((1, 2, 3, 4))
        logits = torch.stack([torch.zeros_like(means), means, torch.zeros_like(means)], 1)
        expected = (logits.softmax(1) if fusion == "softmax" else logits).mean(0)
        np.testing.assert_allclose(result.scores[sample.index], expected, rtol=1e-5)
    assert result.index.tolist() == [0, 1, 2, 3, 4] and result.label.tolist() == [0, 1, 2, 0, 1]


def test_the_same_view_twice_is_one_view_and_clips_may_swap():
    score = lambda clips, windows=THREE: Evaluator(CPU)(Sums(), [_video(0, clips, windows)], 1).scores  # noqa: E731
    np.testing.assert_allclose(score([[0, 1]]), score([[0, 1]] * 3, THREE * 2), rtol=1e-6)
    np.testing.assert_allclose(score([[0, 1], [2, 5]]), score([[2, 5], [0, 1]], THREE[::-1]), rtol=1e-6)
    assert not np.allclose(score([[0, 1]] * 2 + [[2, 5]]), score([[0, 1], [2, 5]]), rtol=1e-4)  # it counts twice


def test_nothing_is_computed_twice_and_batches_are_full():
    model = Sums()
    clips = [[0, 3, 6], [0, 3, 6], [3, 6, 8]]  # two are one
    Evaluator(CPU, batch_size=2)(model, [_video(index, clips, (*THREE, THREE[0])) for index in range(4)], 4)
    assert sum(model.embedded) == 4 * 3 * 4  # videos, distinct crops, frames they show
    assert sum(model.calls) == 4 * 3 * 2  # videos, distinct crops, distinct clips
    assert set(model.embedded) == {2 * 3} and set(model.calls) == {2}


def test_a_video_is_scored_in_the_same_company_on_any_number_of_ranks():
    sizes = [3, 1, 7, 2, 4, 1, 1]
    whole, alone = Sums(), Evaluator(CPU, batch_size=2)
    scores = alone(whole, _samples(sizes), 7).scores
    for world in (2, 3, 9):
        parts = []
        for rank in range(world):
            mine = set(test_loader(range(7), 0, rank, world, 2).sampler)
            model, share = Sums(), [sample for sample in _samples(sizes) if sample.index in mine]
            parts.append((model.embedded, model.calls, dict(alone.scores(model, share))))
        assert sorted(size for embedded, _, _ in parts for size in embedded) == sorted(whole.embedded)
        assert sorted(size for _, calls, _ in parts for size in calls) == sorted(whole.calls)
        merged = {index: row for _, _, fused in parts for index, row in fused.items()}
        np.testing.assert_array_equal(np.stack([merged[index][0] for index in range(7)]), scores)


def test_a_video_that_two_ranks_scored_is_an_error(monkeypatch):
    gathered = ({0: 0, 1: 1}, {}, {}, {})
    monkeypatch.setattr("videoadapt.engine.distributed.gather", lambda value: [value, gathered])
    with pytest.raises(RuntimeError, match="video 0 was scored on two ranks"):
        Evaluator(CPU)(Sums(), _samples([1, 1]), 2)
    with pytest.raises(RuntimeError, match="video 0 came twice"):
        Evaluator(CPU)(Sums(), [*_samples([1]), *_samples([1])], 1)


def test_a_gpu_without_memory_is_one_line():
    def embed(frames):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB.")

    model = Sums()
    model.embed = embed
    with pytest.raises(UserError, match=r"out of GPU memory \(Tried to allocate 2.00 GiB\); lower test.batch_size"):
        Evaluator(CPU)(model, _samples([1]), 1)


def test_a_frame_of_several_clips_is_embedded_once_and_scores_as_in_each_of_them():
    for section in ({}, {"temporal_embedding": False}, {"slots": {"time_out": {"kind": "adapter", "widths": [8]}}}):
        model = build_model(tiny(**section)).eval()
        perturb(model)
        frames = torch.randint(0, 256, (6, 3, 32, 48), dtype=torch.uint8)
        windows = tuple((slice(0, 32), slice(left, left + 32)) for left in (0, 8, 16))
        sample = TestSample(0, 1, frames, torch.tensor([[0, 1, 2, 3], [2, 3, 4, 5]]), windows)
        with torch.no_grad():
            expected = model(sample.views()).softmax(1).mean(0)
        scores = Evaluator(CPU, batch_size=4)(model, [sample], 1).scores[0]
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)


def test_unreadable_videos_are_an_error_or_wrong_or_skipped_but_always_told():
    with pytest.raises(UserError, match=r"x.mp4: broken; test.on_bad"):
        Evaluator(CPU)(Sums(), _samples([1, 1, 1], bad=[0]), 3)
    wrong = Evaluator(CPU, on_bad="count_wrong")(Sums(), _samples([1, 1, 1], bad=[0]), 3)
    assert wrong.results()["num_videos"] == 3 and wrong.results()["num_unreadable"] == 1
    assert wrong.results()["per_class"][0]["top1"] == 0
    assert wrong.results()["top5"] == pytest.approx(200 / 3)
    assert wrong.scores[0].argmax() != wrong.label[0]
    skipped = Evaluator(CPU, on_bad="skip")(Sums(), _samples([1, 1, 1], bad=[0]), 3)
    assert skipped.index.tolist() == [1, 2] and skipped.unreadable == {0: "x.mp4: broken"}
    with pytest.raises(UserError, match="none of the 2 listed videos"):
        Evaluator(CPU, on_bad="skip")(Sums(), _samples([1, 1], bad=[0, 1]), 2)


def test_a_hole_in_the_list_is_an_error():
    with pytest.raises(RuntimeError, match="4 videos are listed, 3 were scored"):
        Evaluator(CPU)(Sums(), _samples([1, 1, 1]), 4)


# --- optimizer and step


def test_vectors_and_the_temporal_embedding_are_not_decayed():
    model = nn.Linear(3, 2)
    model.temporal_embedding = nn.Parameter(torch.zeros(4, 1, 3))
    optimizer = build_optimizer(model, lr=1e-3, weight_decay=0.1, betas=(0.9, 0.999))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay[id(model.weight)] == 0.1
    assert decay[id(model.bias)] == decay[id(model.temporal_embedding)] == 0


def test_the_temporal_embedding_may_learn_faster():
    model = nn.Linear(3, 2)
    model.temporal_embedding = nn.Parameter(torch.zeros(4, 1, 3))
    optimizer = build_optimizer(model, lr=0.1, weight_decay=0.1, betas=(0.9, 0.999), temporal_lr_scale=4.0)
    build_schedule(optimizer, total_steps=10, warmup_steps=0, min_lr=0.0).step_update(0)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(model.weight)] == rates[id(model.bias)] == pytest.approx(0.1)
    assert rates[id(model.temporal_embedding)] == pytest.approx(0.4)


def test_the_schedule_warms_up_and_falls_to_the_floor():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    schedule = build_schedule(optimizer, total_steps=100, warmup_steps=10, min_lr=0.25)
    rates = []
    for step in range(101):
        schedule.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == 0 and rates[5] == pytest.approx(0.5) and max(rates) == pytest.approx(rates[10], rel=0.03)
    assert all(a >= b for a, b in pairwise(rates[10:])) and rates[100] == pytest.approx(0.25)


def _learner(model, lr, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, fused=True)
    return Learner(model, optimizer, None, grad_scaler(CPU, "fp32"), **options)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_accumulated_gradients_equal_one_large_batch(smoothing):
    clips = torch.randn(4, 6)
    samples = [Sample(i, i % 2, clip[None]) for i, clip in enumerate(clips)]
    weights = []
    for batches in ([samples], [samples[:2], samples[2:]]):
        torch.manual_seed(0)
        model = nn.Linear(6, 2)
        outcome = _learner(model, lr=0.1, label_smoothing=smoothing).step(batches).outcome()
        weights.append((model.weight.detach(), outcome.loss, outcome.grad_norm))
    torch.testing.assert_close(weights[0], weights[1])


def test_clipping_bounds_the_step():
    samples = [Sample(0, 0, 100 * torch.ones(1, 6))]
    model = nn.Linear(6, 2)
    before = model.weight.detach().clone()
    outcome = _learner(model, lr=1.0, clip_grad=0.5).step([samples]).outcome()
    assert (model.weight - before).norm() <= 0.5001 < outcome.grad_norm


def test_fp16_on_the_cpu_is_refused():
    with pytest.raises(UserError, match="fp16 trains on CUDA alone"):
        grad_scaler(CPU, "fp16")


# --- checkpoints


def test_a_checkpoint_of_another_model_is_one_line(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, dict(nn.Linear(3, 2).named_parameters()), {"a": [1, None, "x"]})
    tensors, about = read_checkpoint(path)
    assert about == {"a": [1, None, "x"]}
    for model, message in [
        (nn.Linear(3, 2, bias=False), "holds weights the model has no place for: bias"),
        (nn.Sequential(nn.Linear(3, 2)), "has no weights for 0.weight and 1 more"),
        (nn.Linear(4, 2), "has other shapes for weight"),
    ]:
        with pytest.raises(UserError, match=message):
            load_trainable(model, tensors, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such checkpoint"), (b"", "not a readable checkpoint"), (b"junk" * 99, "not a readable checkpoint")],
)
def test_unreadable_checkpoints(tmp_path, content, message):
    path = tmp_path / "c.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_checkpoint(path)


def test_foreign_safetensors_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "c.safetensors")
    with pytest.raises(UserError, match="not a checkpoint of videoadapt"):
        read_checkpoint(tmp_path / "c.safetensors")
