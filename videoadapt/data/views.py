"""Views: the frames x clips x crops of a multi-view test."""

from dataclasses import dataclass


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
