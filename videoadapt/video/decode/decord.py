"""decord, for the files whose length it reads right, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from videoadapt.errors import UserError
from videoadapt.video.decode import decord_process
from videoadapt.video.decode.common import Deadline, Indices, VideoReadError, checked, reason
from videoadapt.video.decode.pyav import PyavVideo


class DecordVideo:
    """decord hangs for ever on some trimmed files, misreads others (open GOPs, AVI with B-frames, transport streams),
    and damaged ones can take the process with them.

    So it only gets files that are plain for PyAV and on whose length it agrees with the container's packets; and it
    works in a process of its own, which ends when it takes too long.
    """

    backend = "decord"

    def __init__(self, path: Path, deadline: Deadline | None = None) -> None:
        self.path, self._deadline, self._key = path, deadline or Deadline(path, None), next(_keys)
        with PyavVideo(path, self._deadline) as index:
            self.fps, self.num_frames, self.times = index.fps, index.num_frames, index.times
            plain = index.is_plain()
        self._process = _process()
        length = self._ask(open=self._key, path=str(path.absolute()))["length"] if plain else None
        if length != self.num_frames:
            self.__exit__()
            raise VideoReadError(f"{path}: decord would misread its {self.num_frames} frames")

    def frames(self, indices: Indices) -> np.ndarray:
        """As any reader."""
        return self._ask(read=self._key, indices=checked(indices, self, self.path))["frames"]

    def _ask(self, **request: Any) -> dict:
        try:
            return self._process.ask({**request, "seconds": self._deadline.left()})
        except _ProcessError as error:
            raise VideoReadError(f"{self.path}: decord cannot read it ({error})") from None

    def __enter__(self) -> "DecordVideo":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_usable():
            with suppress(_ProcessError):
                self._process.ask({"close": self._key, "seconds": self._deadline.seconds})


class _ProcessError(Exception):
    """decord's own error, its crash, or its taking too long."""


class _Process:
    """A running ``decord_process``; one for each process that reads, ended with it. Threads take turns."""

    def __init__(self) -> None:
        self.owner, self._lock = os.getpid(), Lock()
        command = [sys.executable, decord_process.__file__]
        self._process: Any = subprocess.Popen(  # Any, since the pipes of other processes may be missing
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def ask(self, request: dict) -> dict:
        """The answer to a request of ``decord_process``, with ``frames`` where it has a shape."""
        with self._lock:
            try:
                answer = self._exchange(request)
            except (OSError, ValueError):
                raise _ProcessError(self._end()) from None
            except BaseException:  # an interrupt: what is left of the answer must not be taken for the next
                self._process.kill()
                raise
        if "error" in answer:
            raise _ProcessError(answer["error"])
        return answer

    def _exchange(self, request: dict) -> dict:
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "shape" in answer:
            pixels = bytearray(int(np.prod(answer["shape"])))
            if self._process.stdout.readinto(pixels) != len(pixels):
                raise ValueError("the frames are cut short")
            answer["frames"] = np.frombuffer(pixels, np.uint8).reshape(answer["shape"])
        return answer

    def _end(self) -> str:
        """Why there is no answer."""
        self._process.kill()
        return "it took longer than the limit" if self._process.wait() == -signal.SIGALRM else "it crashed"

    def is_usable(self) -> bool:
        return self.owner == os.getpid() and self._process.poll() is None


_keys = count()
_lock = Lock()
_running: _Process | None = None


def _process() -> _Process:
    """This process's own, started when first needed and again after a crash."""
    global _running
    with _lock:
        if _running is None or not _running.is_usable():
            _running = _Process()
        return _running


def require() -> None:
    """UserError where the library does not load."""
    try:
        import decord  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(f"data.decoder: decord cannot be loaded here ({reason(error)}); use pyav") from None
