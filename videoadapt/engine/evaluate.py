"""Multi-view evaluation in which every listed video counts exactly once."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from videoadapt.engine import distributed, metrics
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


@dataclass(frozen=True)
class Evaluator:
    """How videos are scored.

    Args:
        fusion: over the views of a video, the mean of softmax or of logits.
        batch_size: views a forward pass; the views of several videos share one.
        on_bad: what becomes of an unreadable video: an error, a wrong answer, or nothing.
    """

    device: torch.device
    precision: str = "fp32"
    fusion: Literal["softmax", "logits"] = "softmax"
    batch_size: int = 8
    on_bad: Literal["error", "count_wrong", "skip"] = "error"

    def __call__(self, model: nn.Module, samples: Iterable, num_videos: int) -> Predictions:
        """Score this rank's samples and gather every rank's; the same result on each of them."""
        model.eval()
        labels: dict[int, int] = {}
        decoders: dict[int, str] = {}
        unreadable: dict[int, str] = {}
        fused = dict(self._scores(model, self._readable(samples, labels, decoders, unreadable)))
        merged: tuple[dict, dict, dict, dict] = ({}, {}, {}, {})
        for shares in distributed.gather((labels, fused, decoders, unreadable)):
            for whole, share in zip(merged, shares, strict=True):
                if twice := whole.keys() & share.keys():
                    raise RuntimeError(f"video {min(twice)} was scored on two ranks")
                whole.update(share)
        return self._assemble(*merged, num_videos)

    def _readable(
        self, samples: Iterable, labels: dict, decoders: dict, unreadable: dict
    ) -> Iterator[tuple[int, Tensor]]:
        for sample in samples:
            labels[sample.index] = sample.label
            if sample.views is not None:
                decoders[sample.index] = sample.decoder
                yield sample.index, sample.views
            elif self.on_bad == "error":
                raise UserError(f"{sample.unreadable[0]}; test.on_bad: count_wrong or skip would go on")
            else:
                unreadable[sample.index] = sample.unreadable[0]

    @torch.inference_mode()
    def _scores(self, model: nn.Module, videos: Iterable[tuple[int, Tensor]]) -> Iterator[tuple[int, np.ndarray]]:
        """(index, fused scores), from batches that views of neighbouring videos fill together."""
        waiting: list[tuple[int, int]] = []  # index and number of views, in order
        views: list[Tensor] = []
        scores: list[Tensor] = []
        for index, clips in videos:
            waiting.append((index, len(clips)))
            views += clips
            while len(views) >= self.batch_size:
                scores += self._forward(model, views[: self.batch_size])
                del views[: self.batch_size]
            while waiting and len(scores) >= waiting[0][1]:
                yield self._fuse(waiting.pop(0), scores)
        if views:
            scores += self._forward(model, views)
        while waiting:
            yield self._fuse(waiting.pop(0), scores)

    def _forward(self, model: nn.Module, views: list[Tensor]) -> Tensor:
        batch = torch.stack(views).to(self.device, non_blocking=True)
        with autocast(self.device, self.precision):
            logits = model(batch)
        return (logits.float().softmax(1) if self.fusion == "softmax" else logits.float()).cpu()

    @staticmethod
    def _fuse(video: tuple[int, int], scores: list[Tensor]) -> tuple[int, np.ndarray]:
        index, count = video
        fused = torch.stack(scores[:count]).mean(0).numpy()
        del scores[:count]
        return index, fused

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
