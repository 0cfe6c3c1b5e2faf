"""Views: the frames x clips x crops of a multi-view test, from one decode pass."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Views:
    """``32x3x1`` is 32 frames a clip, 3 clips, 1 crop: 3 views."""

    frames: int
    clips: int = 1
    crops: int = 1

    @classmethod
    def parse(cls, text: str) -> "Views":
        return cls(*map(int, text.split("x")))

    def __str__(self) -> str:
        return f"{self.frames}x{self.clips}x{self.crops}"


def decode_clips(read: Callable[[np.ndarray], np.ndarray], indices: np.ndarray) -> tuple[Tensor, Tensor]:
    """Decode every frame that occurs in ``indices`` (clips, t) once.

    Returns the distinct frames (n c h w) uint8 in time order and, for each clip, its rows among them (clips, t).
    """
    distinct, rows = np.unique(indices, return_inverse=True)
    frames = torch.from_numpy(np.ascontiguousarray(read(distinct))).permute(0, 3, 1, 2)
    return frames, torch.from_numpy(rows.reshape(indices.shape))
