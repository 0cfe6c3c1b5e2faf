"""Multi-view evaluation in which every listed video counts exactly once."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from videoadapt.engine import distributed, metrics
from videoadapt.engine.batches import in_batches
from videoadapt.engine.health import memory_advice
from videoadapt.engine.precision import autocast
from videoadapt.errors import UserError


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


class _Crop(NamedTuple):
    """What becomes of the frames of one crop of one video."""

    index: int  # of the video
    frames: int  # of a clip
    clips: Tensor  # (clips t): places among the frames
    weights: Tensor  # (clips): shares in the video's score
    is_last: bool  # of the video


@dataclass(frozen=True)
class Evaluator:
    """How videos are scored.

    Args:
        fusion: over the views of a video, the mean of softmax or of logits.
        batch_size: views a forward pass, and videos whose views share them.
        on_bad: what becomes of an unreadable video: an error, a wrong answer, or nothing.
    """

    device: torch.device
    precision: str = "fp32"
    fusion: Literal["softmax", "logits"] = "softmax"
    batch_size: int = 8
    on_bad: Literal["error", "count_wrong", "skip"] = "error"

    def __call__(self, model: nn.Module, samples: Iterable, num_videos: int) -> Predictions:
        """Score this rank's ``TestSample``s and gather every rank's; the same result on each of them.

        The model is a ``Classifier`` or takes a video as one does, in two steps: ``embed(frames)`` for each frame
        alone, (n c h w) uint8 to (n ...), and ``classify(embedded)`` for clips, (b t ...) to (b classes). A frame that
        several views show, and a view that is another one again, is computed once.
        """
        model.eval()
        labels: dict[int, int] = {}
        decoders: dict[int, str] = {}
        unreadable: dict[int, str] = {}
        with memory_advice("lower test.batch_size or set run.precision=bf16"):
            fused = dict(self._scores(model, self._readable(samples, labels, decoders, unreadable)))
        merged: tuple[dict, dict, dict, dict] = ({}, {}, {}, {})
        for shares in distributed.gather((labels, fused, decoders, unreadable)):
            for whole, share in zip(merged, shares, strict=True):
                if twice := whole.keys() & share.keys():
                    raise RuntimeError(f"video {min(twice)} was scored on two ranks")
                whole.update(share)
        return self._assemble(*merged, num_videos)

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
    def _scores(self, model: nn.Module, samples: Iterable) -> Iterator[tuple[int, np.ndarray]]:
        """(index, fused scores), bit for bit the same on any number of ranks.

        ``batch_size`` neighbours of the list fill batches together, and no others join them.
        """
        for _, group in groupby(samples, lambda sample: sample.index // self.batch_size):
            yield from self._group_scores(model, group)

    def _group_scores(self, model: nn.Module, samples: Iterable) -> Iterator[tuple[int, np.ndarray]]:
        embedded = in_batches(self._run(model.embed), self._crops(samples), lambda crop: self.batch_size * crop.frames)
        clips = ((crop, frames[crop.clips]) for crop, frames in embedded)
        total = 0
        for crop, logits in in_batches(self._run(model.classify), clips, lambda _: self.batch_size):
            scores = logits.float().softmax(1) if self.fusion == "softmax" else logits.float()
            total = total + crop.weights @ scores
            if crop.is_last:
                yield crop.index, total.cpu().numpy()
                total = 0

    def _crops(self, samples: Iterable) -> Iterator[tuple["_Crop", Tensor]]:
        """Each distinct crop of a video with its distinct clips, and the frames (n c h w) it shows."""
        for sample in samples:
            frames = sample.frames.to(self.device, non_blocking=True)
            clips, counts = (t.to(self.device) for t in torch.unique(sample.clips, dim=0, return_counts=True))
            windows = Counter((rows.start, rows.stop, columns.start, columns.stop) for rows, columns in sample.windows)
            shares = counts.float() / (len(sample.clips) * len(sample.windows))
            for number, ((top, bottom, left, right), times) in enumerate(windows.items(), start=1):
                crop = _Crop(sample.index, clips.shape[1], clips, times * shares, number == len(windows))
                yield crop, frames[..., top:bottom, left:right]

    def _run(self, step: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def run(batch: Tensor) -> Tensor:
            with autocast(self.device, self.precision):
                return step(batch)

        return run

    def _assemble(self, labels: dict, fused: dict, decoders: dict, unreadable: dict, num_videos: int) -> Predictions:
        if sorted(labels) != list(range(num_videos)):
            raise RuntimeError(f"{num_videos} videos are listed, {len(labels)} were scored")
        if not fused:
            raise UserError(
                f"none of the {num_videos} listed videos could be read; first: {next(iter(unreadable.values()))}"
            )
        if self.on_bad == "count_wrong":
            width = len(next(iter(fused.values())))
            for index in unreadable:
                fused[index] = np.zeros(width, dtype=np.float32)
                fused[index][labels[index]] = -np.inf
        index = np.array(sorted(fused), dtype=np.int64)
        label = np.array([labels[i] for i in index], dtype=np.int64)
        counts = dict(sorted(Counter(decoders.values()).items()))
        scores = np.stack([fused[i] for i in index])
        return Predictions(index, label, scores, dict(sorted(unreadable.items())), counts)
