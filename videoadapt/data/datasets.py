"""Videos as samples that depend on (seed, epoch, index) alone: not on workers, ranks or what came before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.data import Dataset

from videoadapt.data.lists import Record
from videoadapt.data.transforms import TestTransform
from videoadapt.video import VideoReadError
from videoadapt.video.reader import FrameNumbers, VideoReader, take

_ATTEMPTS = 10  # at other videos, in place of an unreadable one

ClipIndices = Callable[..., FrameNumbers]  # (num_frames, rng=...)


class Uncut(NamedTuple):
    """What the views of a training video are made of, where that is left to ``OnDevice``."""

    frames: Tensor  # (n c h w) uint8, as decoded
    rows: tuple[Tensor, ...]  # of each clip, (t): places in ``frames``
    seed: int  # of the sample's own draws


class Sample(NamedTuple):
    """A training video: its clips, or why there are none."""

    index: int  # type: ignore[assignment]  # hides the method of tuples
    label: int
    views: Tensor | Uncut | None  # (v c t h w) uint8, or what they are to be made of
    unreadable: tuple[str, ...] = ()  # messages, of this video and of those it replaces
    decoder: str | None = None  # what read it
    path: str = ""  # of the video that was read


class TestSample(NamedTuple):
    """A video to score: each frame that any view shows, once, and which views are made of them; or why there is none.

    A view is ``frames[clip][..., rows, columns]`` for one of ``clips`` and a window ``(rows, columns)``.
    """

    index: int  # type: ignore[assignment]  # as above
    label: int
    frames: Tensor | None = None  # (n c h w) uint8
    clips: Sequence[Tensor] = ()  # of each clip, (t): places in ``frames``
    windows: tuple[tuple[slice, slice], ...] = ()  # of the crops
    unreadable: str | None = None  # message
    decoder: str | None = None  # what read it

    def views(self) -> Tensor:
        """All of them, clip by clip and crop by crop: (v c t h w), if the clips are of one length."""
        views = [
            take(self.frames, clip)[..., rows, columns]  # type: ignore[arg-type]  # of a video that was read
            for clip in self.clips
            for rows, columns in self.windows
        ]
        return torch.stack(views).transpose(1, 2)


class TrainVideos(Dataset):
    """Random clips: ``videos[epoch, index]`` is always the same ``Sample``.

    A video that cannot be read is named in ``Sample.unreadable`` and replaced by another, drawn from the sample's
    own generator.

    Args:
        transform: of a clip, with draws from torch's generator of the CPU; None leaves it to ``OnDevice``.
    """

    def __init__(
        self,
        records: Sequence[Record],
        reader: VideoReader,
        indices: ClipIndices,
        transform: Callable[[Tensor], Tensor] | None,
        seed: int,
    ) -> None:
        self.records, self.reader, self.indices, self.transform = records, reader, indices, transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        unreadable: list[str] = []
        for _ in range(_ATTEMPTS):
            record = self.records[index]
            try:
                frames, rows, decoder = self.reader.clips(record.path, partial(self.indices, rng=rng))
            except VideoReadError as error:
                unreadable.append(str(error))
                index = int(rng.integers(len(self.records)))
                continue
            uncut = Uncut(frames, rows, seed=int(rng.integers(2**63)))
            views = uncut if self.transform is None else _cut(uncut, self.transform)
            return Sample(key[1], record.label, views, tuple(unreadable), decoder, record.path)
        return Sample(key[1], -1, None, tuple(unreadable))


@dataclass(frozen=True)
class OnDevice:
    """Makes the views of samples that were left ``Uncut``, in the main process: ``make(sample, device)``.

    The draws are those that a worker would have made. Nothing waits for the device.
    """

    transform: Callable[[Tensor], Tensor]

    def __call__(self, sample: Sample, device: torch.device) -> Tensor:
        """(v c t h w) uint8 on the device."""
        uncut: Uncut = sample.views  # type: ignore[assignment]
        with _Pinned():
            return _cut(uncut._replace(frames=uncut.frames.to(device, non_blocking=True)), self.transform)


def _cut(uncut: Uncut, transform: Callable[[Tensor], Tensor]) -> Tensor:
    """The views (v c t h w), where the frames are."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(uncut.seed)
        clips = [transform(take(uncut.frames, clip)) for clip in uncut.rows]
    return torch.stack(clips).transpose(1, 2).contiguous()


class _Pinned(TorchFunctionMode):
    """``torch.tensor`` on a GPU does not wait until what it made on the CPU has been copied up.

    torchvision makes a small matrix of numbers for every rotation, shift and sharpening.
    """

    def __torch_function__(
        self, func: Callable, types: Any, args: Sequence = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if func is not torch.tensor or device is None or torch.device(device).type != "cuda":
            return func(*args, **kwargs)
        made = torch.tensor(*args, **{**kwargs, "device": "cpu", "pin_memory": True})
        return made.to(device, non_blocking=True)


class TestVideos(Dataset):
    """Every listed video, once, as a ``TestSample``; an unreadable one comes with its message and nothing else."""

    def __init__(
        self, records: Sequence[Record], reader: VideoReader, indices: ClipIndices, transform: TestTransform
    ) -> None:
        self.records, self.reader, self.indices, self.transform = records, reader, indices, transform

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> TestSample:
        record = self.records[index]
        try:
            frames, clips, decoder = self.reader.clips(record.path, self.indices)
        except VideoReadError as error:
            return TestSample(index, record.label, unreadable=str(error))
        frames, windows = self.transform.cut(frames)
        return TestSample(index, record.label, frames, clips, windows, decoder=decoder)
