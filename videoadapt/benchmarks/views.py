"""What a multi-view test costs: one pass over each video, each frame and view once, against a pass for each view."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videoadapt.benchmarks.rows import Side, rows
from videoadapt.builders import build_model
from videoadapt.config import ModelConfig
from videoadapt.data.datasets import TestVideos
from videoadapt.data.lists import Record
from videoadapt.data.sampling import dense_indices
from videoadapt.data.transforms import TestTransform
from videoadapt.data.views import Views
from videoadapt.engine.evaluate import Evaluator
from videoadapt.errors import UserError
from videoadapt.video.reader import VideoReader


class ViewBench:
    """The same views of the same videos, read and scored."""

    def __init__(self, paths: Sequence[Path], views: Views, size: int) -> None:
        self.paths, self.views = list(paths), views
        self.indices = partial(dense_indices, clip_len=views.frames, stride=2, clips=views.clips)
        self.transform = TestTransform(size, size, views.crops)
        self.reader = VideoReader("/", short_side=size)
        records = [Record(str(path.resolve()), 0) for path in self.paths]
        self.videos = TestVideos(records, self.reader, self.indices, self.transform)

    def reading(self, rounds: int) -> list[dict[str, Any]]:
        """Until the pixels leave the worker; the bytes are what leaves it."""
        found = []
        for number, path in enumerate(self.paths):
            whole, apart = partial(self.videos.__getitem__, number), partial(self._apart, path)
            frames = whole().frames
            if frames is None:
                raise UserError(f"--video: {whole().unreadable}")
            sides = {
                f"views[{self.views}]": Side(whole, frames.nbytes),
                "one decode for each view": Side(apart, apart().nbytes),
            }
            found += rows(sides, rounds, video=path.name)
        return found

    def scoring(self, rounds: int, device: torch.device) -> list[dict[str, Any]]:
        """From the files to the scores, by the embedded backbone with LoKi in its three places."""
        spec = {"kind": "loki", "widths": [48, 97, 48]}
        slots = dict.fromkeys(("time_out", "space_out", "mlp_side"), spec)
        section = {"num_frames": self.views.frames, "num_classes": 48, "slots": slots}
        model = build_model(ModelConfig.model_validate(section), device).eval()
        evaluator = Evaluator(device)
        sides = {
            f"test[{self.views}]": Side(lambda: evaluator(model, self._samples(), len(self.paths))),
            "one decode and forward for each view": Side(lambda: self._scored_apart(model, device)),
        }
        return rows(sides, rounds, video=f"{len(self.paths)} videos")

    def _samples(self) -> Iterator:
        return (self.videos[number] for number in range(len(self.paths)))

    def _apart(self, path: Path) -> Tensor:
        return torch.stack(list(self._views_of(path)))

    def _views_of(self, path: Path) -> Iterator[Tensor]:
        for view in range(self.views.clips * self.views.crops):
            clip, crop = divmod(view, self.views.crops)
            frames, places, _ = self.reader.clips(str(path.resolve()), self._one_clip(clip))
            yield self.transform(frames)[crop][places[0]].transpose(0, 1)

    def _one_clip(self, clip: int) -> Callable:
        return lambda count: self.indices(count)[clip : clip + 1]

    @torch.inference_mode()
    def _scored_apart(self, model: nn.Module, device: torch.device) -> list[Tensor]:
        scores = []
        for path in self.paths:
            each = [model(view[None].to(device)).softmax(1) for view in self._views_of(path)]
            scores.append(torch.cat(each).mean(0))
        return scores
