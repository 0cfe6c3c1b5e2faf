"""decord, for the files whose length it reads right, in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Timer

import numpy as np

from videoadapt.data.decode import decord_process
from videoadapt.data.decode.common import Deadline, VideoReadError, checked, reason
from videoadapt.data.decode.pyav import PyavVideo
from videoadapt.errors import UserError


class DecordVideo:
    """decord hangs for ever on some trimmed files, miscounts others (AVI with B-frames, transport streams), and
    damaged ones can take the process with them.

    So it only gets MP4, Matroska, WebM and AVI files that are plain for PyAV and on whose length it agrees with the
    container's packets; and it works in a process of its own, which is ended when it takes too long.
    """

    backend = "decord"

    def __init__(self, path: Path, deadline: Deadline | None = None) -> None:
        self.path, self._deadline, self._key = path, deadline or Deadline(path, None), next(_keys)
        with PyavVideo(path, self._deadline) as index:
            self.fps, self.num_frames = index.fps, index.num_frames
            if not index.is_plain():
                raise VideoReadError(f"{path}: decord would misread its {index.num_frames} frames")
        length = self._ask(open=self._key, path=str(path))["length"]
        if length != self.num_frames:
            self.__exit__()
            raise VideoReadError(f"{path}: decord would misread its {self.num_frames} frames")

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """As any reader."""
        return self._ask(read=self._key, indices=checked(indices, self, self.path))["frames"]

    def _ask(self, **request) -> dict:
        try:
            return _process().ask(self._deadline.left(), request)
        except ValueError as error:
            raise VideoReadError(f"{self.path}: decord cannot read it ({error})") from None

    def __enter__(self) -> "DecordVideo":
        return self

    def __exit__(self, *_) -> None:
        with suppress(ValueError):
            _process().ask(self._deadline.seconds, {"close": self._key})


class _Process:
    """A running ``decord_process``; one for each process that reads, ended with it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        command = [sys.executable, decord_process.__file__]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, **pipes)

    def ask(self, seconds: float | None, request: dict) -> dict:
        """The answer; ValueError if it is an error, comes late, or the process dies of it."""
        timer = Timer(seconds, self._process.kill) if seconds is not None else None
        if timer:
            timer.start()
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
            if "shape" in answer:
                pixels = bytearray(int(np.prod(answer["shape"])))
                self._process.stdout.readinto(pixels)
                answer["frames"] = np.frombuffer(pixels, np.uint8).reshape(answer["shape"])
        except (OSError, ValueError):
            late = timer is not None and not timer.is_alive()
            raise ValueError(f"it took longer than {seconds:g} s" if late else "it crashed") from None
        finally:
            if timer:
                timer.cancel()
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer

    @property
    def usable(self) -> bool:
        return self.owner == os.getpid() and self._process.poll() is None


_keys = count()
_running: _Process | None = None


def _process() -> _Process:
    """This process's own, started when first needed and again after a crash."""
    global _running
    if _running is None or not _running.usable:
        _running = _Process()
    return _running


def require() -> None:
    """UserError where the library does not load."""
    try:
        import decord  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(f"data.decoder: decord cannot be loaded here ({reason(error)}); use pyav") from None
