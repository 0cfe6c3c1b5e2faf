"""Videos to frames: exact indices, only the frames that are asked for, through PyAV or decord. A picture is a frame."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import av
import numpy as np
from PIL import Image, ImageOps

from videoadapt.errors import UserError

Backend = Literal["pyav", "decord"]
_PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_DECORD_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"}  # FFmpeg's names
log = logging.getLogger(__name__)


class VideoReadError(UserError):
    """A file that cannot be opened, indexed or decoded; the message names the file and the cause."""


def open_video(path: str | os.PathLike, backend: Backend = "pyav") -> "PyavVideo | DecordVideo | Picture":
    """A context manager with ``num_frames``, ``fps`` and ``frames(indices)`` -> uint8 rgb (t h w c).

    ``frames`` keeps order and repeats. Frame i is the i-th displayed frame: discarded pre-roll of edit lists does
    not count, rotation metadata is applied. Open it where it is used: a handle does not survive a fork.

    decord hangs for ever on some trimmed files and miscounts others (AVI with B-frames, transport streams), so it
    only gets MP4, Matroska, WebM and AVI files whose every frame has a time and on whose length it agrees with the
    container's packets; the others go to PyAV, and the log says so. A picture file is a video of one frame, whatever
    the backend.
    """
    path = Path(path)
    if not path.is_file():
        raise VideoReadError(f"{path}: {'not a file' if path.exists() else 'no such video'}")
    if path.suffix.lower() in _PICTURES:
        return Picture(path)
    if backend == "pyav":
        return PyavVideo(path)
    if backend != "decord":
        raise UserError(f"decoder '{backend}': choose from: pyav, decord")
    return _open_decord(path)


class PyavVideo:
    """PyAV with an index of its own: one pass over the packets finds every frame without decoding any.

    ``timed`` tells whether every frame has a display time; if not, frames are counted from the start of the file.
    ``container`` is FFmpeg's name of the format.
    """

    backend = "pyav"

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._container = av.open(f"file:{path}", metadata_errors="ignore")
        except (av.FFmpegError, ValueError) as error:
            raise VideoReadError(f"{path}: not a readable video ({_reason(error)})") from None
        try:
            self._stream = self._container.streams.video[0]
            self._stream.thread_count = 1  # parallelism comes from the loader's workers
            self._build_index()
        except (av.FFmpegError, ValueError, IndexError) as error:
            self._container.close()
            raise VideoReadError(f"{path}: no readable video stream ({_reason(error)})") from None
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 0)

    def _build_index(self) -> None:
        packets = [p for p in self._container.demux(self._stream) if p.size]  # the flush packet is empty
        shown = [p for p in packets if not p.is_discard]
        if not shown:
            raise ValueError("it holds no frames")
        self.num_frames = len(shown)
        self._start = min((p.dts for p in packets if p.dts is not None), default=0)
        times = sorted({p.pts for p in shown if p.pts is not None})
        # AVI has no display times: with B-frames, FFmpeg's guesses are wrong.
        self.container = self._container.format.name
        guessed = self.container == "avi" and self._stream.codec_context.has_b_frames
        self.timed = len(times) == len(shown) and not guessed
        self._number = {time: number for number, time in enumerate(times)} if self.timed else {}
        self._keys = [(self._number[p.pts], p.pts) for p in shown if p.is_keyframe] if self.timed else []

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """The frames at ``indices``, uint8 rgb (t h w c); those between are decoded only where they must be."""
        wanted = _checked(indices, self)
        try:
            images = {number: _to_rgb(frame) for number, frame in self._forward(sorted(set(wanted)))}
            return np.stack([images[number] for number in wanted])
        except (av.FFmpegError, ValueError) as error:
            raise VideoReadError(f"{self.path}: decoding failed ({_reason(error)})") from None

    def _forward(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """The wanted frames with their numbers; jumps to a key frame only where that skips frames."""
        decoded, position = None, -1
        for target in wanted:
            key, time = max((key for key in self._keys if key[0] <= target), default=(0, self._start))
            if decoded is None or key > position + 1:
                decoded = self._decode_from(time if key else self._start)
            position, frame = _reach(decoded, target)
            if position != target:  # a container may lead past the key frame: go there from the very start
                decoded = self._decode_from(self._start)
                position, frame = _reach(decoded, target)
            if position != target:
                raise VideoReadError(
                    f"{self.path}: frame {target} of {self.num_frames} cannot be decoded; is the file damaged?"
                )
            yield target, frame

    def _decode_from(self, time: int) -> Iterator[tuple[int, av.VideoFrame]]:
        self._container.seek(time, stream=self._stream)
        count = 0
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:  # a damaged packet: its frames are missed only if they are wanted
                continue
            for frame in frames:
                number = self._number.get(frame.pts) if self.timed else count
                count += 1
                if number is not None:
                    yield number, frame

    def __enter__(self) -> "PyavVideo":
        return self

    def __exit__(self, *_) -> None:
        self._container.close()


class DecordVideo:
    """decord, for files whose length it reads right; what it then fails to decode is read with PyAV."""

    backend = "decord"

    def __init__(self, path: Path, reader, fps: float) -> None:
        self.path, self._reader, self.fps = path, reader, fps
        self.num_frames = len(reader)

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """As ``PyavVideo.frames``."""
        wanted = _checked(indices, self)
        try:
            return self._reader.get_batch(wanted).asnumpy()
        except Exception as error:  # decord's own error has no public base class
            log.warning("%s: read with pyav, decord cannot decode it (%s)", self.path, _reason(error))
            with PyavVideo(self.path) as video:
                return video.frames(wanted)

    def __enter__(self) -> "DecordVideo":
        return self

    def __exit__(self, *_) -> None:
        self._reader = None  # decord decodes ahead in the background as long as a reader lives


class Picture:
    """An image file as a video of one frame: upright as its EXIF data says, rgb whatever its mode."""

    backend, num_frames, fps = "pillow", 1, 0.0

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with Image.open(path) as image:
                self._frame = np.asarray(_eight_bit(ImageOps.exif_transpose(image)).convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise VideoReadError(f"{path}: not a readable picture ({_reason(error)})") from None

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """As ``PyavVideo.frames``; every index is 0."""
        return np.stack([self._frame] * len(_checked(indices, self)))

    def __enter__(self) -> "Picture":
        return self

    def __exit__(self, *_) -> None:
        pass


def _eight_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion of deeper pictures clips them to white."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in {"I", "F"}:
        raise ValueError(f"pixels of mode {image.mode} have no agreed range; store 8 or 16 bits")
    return image


def require_backend(backend: Backend) -> None:
    """A UserError if the decoder cannot be loaded here; in the main process, before any worker needs it."""
    if backend == "decord":
        _import_decord()


def _import_decord():
    try:
        import decord
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(f"data.decoder: decord cannot be loaded here ({_reason(error)}); use pyav") from None
    return decord


def _open_decord(path: Path) -> "DecordVideo | PyavVideo":
    decord = _import_decord()
    video = PyavVideo(path)
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
    except Exception as error:  # decord's own error has no public base class
        log.warning("%s: read with pyav, decord cannot open it (%s)", path, _reason(error))
        return video
    if len(reader) != video.num_frames or not video.timed or video.container not in _DECORD_CONTAINERS:
        log.warning("%s: read with pyav, decord would miscount its %d frames", path, video.num_frames)
        return video
    with video:
        return DecordVideo(path, reader, video.fps)


def _reach(decoded: Iterator[tuple[int, av.VideoFrame]], target: int) -> tuple[int | None, av.VideoFrame | None]:
    return next((pair for pair in decoded if pair[0] >= target), (None, None))


def _to_rgb(frame: av.VideoFrame) -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    return np.rot90(image, frame.rotation // 90) if frame.rotation else image


def _checked(indices: Sequence[int], video: "PyavVideo | DecordVideo | Picture") -> list[int]:
    wanted = np.asarray(indices, dtype=np.int64).tolist()
    if not wanted or min(wanted) < 0 or max(wanted) >= video.num_frames:
        raise IndexError(f"{video.path}: frame indices must lie in 0..{video.num_frames - 1}")
    return wanted


def _reason(error: Exception) -> str:
    return (str(getattr(error, "strerror", None) or error).strip().splitlines() or [type(error).__name__])[0]
