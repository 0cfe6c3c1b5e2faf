"""How an evaluation keeps a device busy: what is queued before what is fetched, and the shapes that the model meets."""

import numpy as np
import pytest
import torch
from conftest import perturb, tiny
from torch import nn

from videoadapt.builders import build_model
from videoadapt.data.datasets import TestSample
from videoadapt.engine import evaluate
from videoadapt.engine.arriving import Arriving
from videoadapt.engine.batches import in_batches, rows_at, sent
from videoadapt.engine.evaluate import Evaluator

TestSample.__test__ = False
CPU = torch.device("cpu")
THREE = tuple((slice(0, 32), slice(left, left + 32)) for left in (0, 4, 8))


class Seen(nn.Module):
    """A small classifier that notes the shapes it meets."""

    def __init__(self, **section):
        super().__init__()
        self.model = build_model(tiny(**section))
        perturb(self.model)
        self.embedded, self.classified = [], []

    def embed(self, frames):
        assert frames.dtype == torch.uint8
        self.embedded.append((tuple(frames.shape), frames.is_contiguous()))
        return self.model.embed(frames)

    def classify(self, embedded):
        self.classified.append((tuple(embedded.shape[:2]), embedded.is_contiguous()))
        return self.model.classify(embedded)


def _videos(count, windows=THREE, clips=3, seed=0):
    """Clips of 4 and, in every other video, of 2 frames, some of which several clips show."""
    draw = np.random.default_rng(seed)
    for index in range(count):
        length = int(draw.integers(4, 12))
        frames = torch.from_numpy(draw.integers(0, 256, (length, 3, 32, 40), dtype=np.uint8))
        chosen = [np.sort(draw.choice(length, 2 if index % 2 and n == 2 else 4, False)) for n in range(clips)]
        yield TestSample(index, index % 3, frames, [torch.from_numpy(clip) for clip in chosen], windows)


class Queue:
    """Of a device: numbers are there once somebody has waited for them or for later ones."""

    def __init__(self):
        self.queued, self.done, self.waits = 0, 0, []

    def arriving(self, tensor):
        self.queued += 1
        return _Arriving(self, self.queued, tensor)


class _Arriving(Arriving):
    def __init__(self, queue, place, tensor):
        super().__init__(tensor)
        self.queue, self.place = queue, place

    def tensor(self, hurry=lambda: False):
        if self.place > self.queue.done:
            self.queue.waits.append(self.queue.queued - self.place)
            self.queue.done = self.place
        return super().tensor(hurry)


@pytest.mark.parametrize(("batch_size", "count"), [(1, 5), (4, 3), (4, 8), (4, 19)])
def test_a_busy_device_is_waited_for_once_a_group_when_the_next_is_queued(monkeypatch, batch_size, count):
    evaluator, model, selections = Evaluator(CPU, batch_size=batch_size), Seen(), [None, [(0, 1)], [(1, 0), (2, 2)]]
    at_once = list(evaluator.scores(model, _videos(count), selections))
    busy, groups = Queue(), -(-count // batch_size)
    pace = Evaluator(torch.device("cuda"), batch_size=batch_size)._pace
    monkeypatch.setattr(Evaluator, "_pace", pace)
    monkeypatch.setattr(evaluate, "Arriving", busy.arriving)
    late = list(evaluator.scores(model, _videos(count), selections))
    assert [index for index, _ in late] == [index for index, _ in at_once] == list(range(count))
    for (_, expected), (_, found) in zip(at_once, late, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert busy.queued == groups and busy.waits == [1] * (groups - 1) + [0]


def test_answers_are_given_as_soon_as_they_are_there():
    read = []
    samples = (read.append(sample.index) or sample for sample in _videos(6, THREE[:1], 1))
    answers = Evaluator(CPU, batch_size=2).scores(Seen(), samples)
    assert [(next(answers)[0], max(read)) for _ in range(4)] == [(0, 1), (1, 1), (2, 3), (3, 3)]


def test_rows_are_copied_only_where_they_are_not_neighbours():
    tensor = torch.arange(24).view(6, 4)
    for places in ([0, 1, 2, 3, 4, 5], [2, 3], [5], [0, 2, 3], [3, 2], [1, 1], [4, 0, 5, 4], [0, 1, 0, 1]):
        rows = rows_at(tensor, places)
        assert torch.equal(rows, tensor[places])
        shares = rows.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
        assert shares == (places == list(range(places[0], places[0] + len(places))))


def test_cuda_gets_pinned_memory(monkeypatch):
    pinned, copies = [], []
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: any(tensor is each for each in pinned))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor.clone()) or pinned[-1])
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_, **how: copies.append((tensor, how)) or tensor)
    for tensor in (torch.zeros(2), torch.ones(3).pin_memory()):
        assert torch.equal(sent(tensor, torch.device("cuda")), tensor)
    assert len(pinned) == 2 and all(any(each is one for one in pinned) for each, _ in copies)
    assert [how for _, how in copies] == [{"non_blocking": True}] * 2
    sent(torch.zeros(2), CPU)
    assert len(pinned) == 2


def test_static_batches_have_one_shape_and_give_every_row_its_own():
    calls = []

    def function(rows):
        calls.append((tuple(rows.shape), rows.is_contiguous()))
        return 2 * rows

    pieces = [(n, torch.full((length, 3, 4), n)[..., :2]) for n, length in enumerate([1, 5, 2, 9])]
    pieces += [(4, torch.full((3, 3, 3), 4)), (5, torch.full((1, 3, 2), 5))]
    for static in (False, True):
        calls.clear()
        found = list(in_batches(function, pieces, lambda _: 4, static))
        assert [key for key, _ in found] == list(range(6))
        assert all(torch.equal(rows, 2 * piece) for (_, rows), (_, piece) in zip(found, pieces, strict=True))
        assert static == (set(calls) == {((4, 3, 2), True), ((4, 3, 3), True)})


@pytest.mark.parametrize("section", [{}, {"temporal_embedding": False}])
def test_a_static_test_scores_the_same_to_rounding(section):
    free, static = Seen(**section), Seen(**section)
    static.load_state_dict(free.state_dict())
    for fusion in ("softmax", "logits"):
        expected = Evaluator(CPU, fusion=fusion, batch_size=4)(free, _videos(7), 7)
        found = Evaluator(CPU, fusion=fusion, batch_size=4, static=True)(static, _videos(7), 7)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-6)
    assert len(set(free.embedded)) > 3 and len(set(free.classified)) > 3
    assert set(static.classified) == {((4, 4), True), ((4, 2), True)}
    assert set(static.embedded) == {((16, 3, 32, 32), True), ((8, 3, 32, 32), True)}
