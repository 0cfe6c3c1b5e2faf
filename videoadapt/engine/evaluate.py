"""Multi-view evaluation in which every listed video counts exactly once."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice, product
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from videoadapt.engine import distributed, metrics
from videoadapt.engine.arriving import Arriving
from videoadapt.engine.batches import in_batches, rows_at, sent
from videoadapt.engine.health import memory_advice
from videoadapt.engine.precision import autocast
from videoadapt.errors import UserError

Selection = Sequence[tuple[int, int]]  # views (clip, window) of a video
_Clip = tuple[int, ...]  # places of its frames
_Window = tuple[int, int, int, int]  # top, bottom, left, right


@dataclass(frozen=True)
class Predictions:
    """Scores of the whole list, ordered by index.

    The row of an unreadable video that counts as wrong is 0 for every class and -inf for the true one.
    """

    index: np.ndarray  # (n,) place in the list
    label: np.ndarray  # (n,)
    scores: np.ndarray  # (n k) fp32
    unreadable: dict[int, str]  # index to message
    decoders: dict[str, int]  # how many videos each decoder read

    def scalars(self) -> dict[str, float]:
        """``top1`` and ``top5``, and the number of unreadable videos where there are any."""
        results = self.results()
        keys = ("top1", "top5", *(["num_unreadable"] if self.unreadable else []))
        return {key: results[key] for key in keys}

    def results(self) -> dict[str, Any]:
        """The accuracies, and what could not be read."""
        accuracies = metrics.summary(self.label, self.scores)
        return {**accuracies, "num_unreadable": len(self.unreadable), "num_read_by": self.decoders}


class _Clips(NamedTuple):
    """Clips of one crop of one video, all of one length."""

    video: int  # its index
    places: list[_Clip]  # (clips t) among the frames of the crop
    weights: Tensor  # (selections clips): shares in the video's scores, on the CPU
    is_last: bool  # of the video

    def of(self, frames: Tensor) -> Tensor:
        """The clips (clips t ...), from the frames of the crop."""
        shown = rows_at(frames, list(chain.from_iterable(self.places)))
        return shown.unflatten(0, (len(self.places), len(self.places[0])))


class _Coming(NamedTuple):
    """Videos whose logits the device may still work on."""

    parts: Sequence[_Clips]
    logits: Arriving  # (clips k) of all parts


@dataclass(frozen=True)
class Evaluator:
    """How videos are scored.

    Args:
        fusion: over the views of a video, the mean of softmax or of logits.
        batch_size: views a forward pass, and videos whose views share them.
        on_bad: what becomes of an unreadable video: an error, a wrong answer, or nothing.
        static: fill up every batch, so that the model meets one shape for each length of clips; compiled code and CUDA
            graphs are made for each shape anew. The scores are the same to rounding.
    """

    device: torch.device
    precision: str = "fp32"
    fusion: Literal["softmax", "logits"] = "softmax"
    batch_size: int = 8
    on_bad: Literal["error", "count_wrong", "skip"] = "error"
    static: bool = False

    def __call__(self, model: nn.Module, samples: Iterable, num_videos: int) -> Predictions:
        """Score this rank's ``TestSample``s by all of their views and gather every rank's."""
        return self.sweep(model, samples, num_videos, {"": None})[""]

    def sweep(
        self, model: nn.Module, samples: Iterable, num_videos: int, selections: Mapping[str, Selection | None]
    ) -> dict[str, Predictions]:
        """The same videos by several selections of their views, None for all; the same result on each rank.

        The model is a ``Classifier`` or takes a video as one does, in two steps: ``embed(frames)`` for each frame
        alone, (n c h w) uint8 to (n ...), and ``classify(embedded)`` for clips, (b t ...) to (b classes). A frame that
        several views show, and a view that is another one again or is of several selections, is computed once.
        """
        labels: dict[int, int] = {}
        decoders: dict[int, str] = {}
        unreadable: dict[int, str] = {}
        with memory_advice("lower test.batch_size or set run.precision=bf16"):
            readable = self._readable(samples, labels, decoders, unreadable)
            fused = dict(self.scores(model, readable, list(selections.values())))
        merged: tuple[dict, dict, dict, dict] = ({}, {}, {}, {})
        for shares in distributed.gather((labels, fused, decoders, unreadable)):
            for whole, share in zip(merged, shares, strict=True):
                if twice := whole.keys() & share.keys():
                    raise RuntimeError(f"video {min(twice)} was scored on two ranks")
                whole.update(share)
        return dict(zip(selections, self._assemble(*merged, num_videos), strict=True))

    def _readable(self, samples: Iterable, labels: dict, decoders: dict, unreadable: dict) -> Iterator:
        for sample in samples:
            if sample.index in labels:
                raise RuntimeError(f"video {sample.index} came twice")
            labels[sample.index] = sample.label
            if sample.frames is not None:
                decoders[sample.index] = sample.decoder
                yield sample
            elif self.on_bad == "error":
                raise UserError(f"{sample.unreadable}; test.on_bad: count_wrong or skip would go on")
            else:
                unreadable[sample.index] = sample.unreadable

    @torch.inference_mode()
    def scores(
        self, model: nn.Module, samples: Iterable, selections: Sequence[Selection | None] = (None,)
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(index, scores (selections k)) of readable samples as they come; the same bits on any number of ranks.

        ``batch_size`` neighbours of the list fill batches together, and no others join them. CUDA is given the next
        videos while it works on these, and waited for once in ``batch_size`` videos.
        """
        model.eval()
        groups = groupby(samples, lambda sample: sample.index // self.batch_size)
        videos = chain.from_iterable(self._group_logits(model, group, selections) for _, group in groups)
        together, behind = self._pace
        coming: deque[_Coming] = deque()
        while some := list(islice(videos, together)):
            parts, logits = zip(*chain.from_iterable(some), strict=True)
            coming.append(_Coming(parts, Arriving(torch.cat(logits))))
            if len(coming) > behind:
                yield from self._fused(*coming.popleft())
        for last in coming:
            yield from self._fused(*last)

    @property
    def _pace(self) -> tuple[int, int]:
        """How many videos are fetched together, and how many such fetches may be on their way meanwhile."""
        return (self.batch_size, 1) if self.device.type == "cuda" else (1, 0)

    def _group_logits(
        self, model: Any, samples: Iterable, selections: Sequence[Selection | None]
    ) -> Iterator[list[tuple[_Clips, Tensor]]]:
        """The parts of each video, with their logits (clips k) on the device."""
        crops = self._crops(samples, selections)
        size = lambda parts: self.batch_size * len(parts[0].places[0])  # noqa: E731
        embedded = in_batches(self._run(model.embed), crops, size, self.static)
        clips = ((part, part.of(frames)) for parts, frames in embedded for part in parts)
        video = []
        for part, logits in in_batches(self._run(model.classify), clips, lambda _: self.batch_size, self.static):
            video.append((part, logits))
            if part.is_last:
                yield video
                video = []

    def _fused(self, parts: Sequence[_Clips], logits: Arriving) -> Iterator[tuple[int, np.ndarray]]:
        total: Any = 0
        lengths = [len(part.places) for part in parts]
        for part, rows in zip(parts, logits.tensor().float().split(lengths), strict=True):
            total = total + part.weights @ (rows.softmax(1) if self.fusion == "softmax" else rows)
            if part.is_last:
                yield part.video, total.numpy()
                total = 0

    def _crops(
        self, samples: Iterable, selections: Sequence[Selection | None]
    ) -> Iterator[tuple[list["_Clips"], Tensor]]:
        """Each distinct crop of a video that is asked for: its distinct clips, and the frames (n c h w) they show."""
        for sample in samples:
            frames = sent(sample.frames, self.device)
            crops = _shares(sample, selections)
            for number, (window, clips) in enumerate(crops.items(), start=1):
                used = sorted({place for clip in clips for place in clip})
                by_length = groupby(sorted(clips, key=len), len)
                parts = [_clips(sample.index, list(same), used, clips) for _, same in by_length]
                parts[-1] = parts[-1]._replace(is_last=number == len(crops))
                top, bottom, left, right = window
                yield parts, rows_at(frames[..., top:bottom, left:right], used)

    def _run(self, step: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def run(batch: Tensor) -> Tensor:
            with autocast(self.device, self.precision):
                return step(batch)

        return run

    def _assemble(
        self, labels: dict, fused: dict, decoders: dict, unreadable: dict, num_videos: int
    ) -> Iterator[Predictions]:
        if sorted(labels) != list(range(num_videos)):
            raise RuntimeError(f"{num_videos} videos are listed, {len(labels)} were scored")
        if not fused:
            raise UserError(
                f"none of the {num_videos} listed videos could be read; first: {next(iter(unreadable.values()))}"
            )
        if self.on_bad == "count_wrong":
            shape = next(iter(fused.values())).shape
            for index in unreadable:
                fused[index] = np.zeros(shape, dtype=np.float32)
                fused[index][:, labels[index]] = -np.inf
        index = np.array(sorted(fused), dtype=np.int64)
        label = np.array([labels[i] for i in index], dtype=np.int64)
        counts = dict(sorted(Counter(decoders.values()).items()))
        for scores in np.stack([fused[i] for i in index], axis=1):
            yield Predictions(index, label, scores, dict(sorted(unreadable.items())), counts)


def _shares(sample: Any, selections: Sequence[Selection | None]) -> dict[_Window, dict[_Clip, list[float]]]:
    """What the distinct views of a video, by crop and clip, contribute to the scores of each selection."""
    clips = [tuple(clip.tolist()) for clip in sample.clips]
    windows = [(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in sample.windows]
    everything = list(product(range(len(clips)), range(len(windows))))
    shares: dict[_Window, dict[_Clip, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0] * len(selections)))
    for number, selection in enumerate(selections):
        views = everything if selection is None else selection
        for (clip, window), times in Counter((clips[clip], windows[window]) for clip, window in views).items():
            shares[window][clip][number] = times / len(views)
    return shares


def _clips(index: int, chosen: list[_Clip], used: list[int], shares: Mapping[_Clip, list[float]]) -> _Clips:
    rows = {place: row for row, place in enumerate(used)}
    places = [tuple(rows[place] for place in clip) for clip in chosen]
    weights = torch.tensor([shares[clip] for clip in chosen]).T
    return _Clips(index, places, weights, is_last=False)
