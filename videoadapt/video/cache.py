"""Smaller copies of videos on disk: decoded once at their full size, then read cheaply for the rest of a training."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from videoadapt.atomic import atomically
from videoadapt.errors import UserError
from videoadapt.video.decode import VideoReadError, open_video
from videoadapt.video.decode.common import read_anew
from videoadapt.video.media import is_still, kind_of_name
from videoadapt.video.reader import read_pieces
from videoadapt.video.store import Store

# Of the codecs tried the best of speed, size and likeness (40 dB on real clips): quantiser 2, short GOPs.
_CODEC, _OPTIONS, _GOP = "mpeg4", {"qmin": "2", "qmax": "2", "bf": "0"}, 4


class VideoCache:
    """Copies with ``short_side`` pixels (None: as large as the original) in ``folder``, one file a video.

    A copy is found by the original's version, such as path, size and time of change. It is written under a temporary
    name first, so processes may share the folder and a killed one leaves no torn copy.
    """

    def __init__(self, folder: str | os.PathLike, short_side: int | None = None) -> None:
        self.folder, self.short_side = Path(folder), short_side
        self._refused: set[str] = set()

    @contextmanager
    def __call__(self, store: Store, name: str) -> Iterator[Path]:
        """The copy of a video, made if there is none; the file itself if it is a picture, or cannot be read whole."""
        copy = self._copy(store, name)
        if copy is not None:
            yield copy
        else:
            with store.local(name) as path:
                yield path

    def _copy(self, store: Store, name: str) -> Path | None:
        if kind_of_name(name) == "picture" or name in self._refused:
            return None
        try:
            version = store.version(name)
        except VideoReadError:  # reading it will say so
            return None
        try:
            copy = self.folder / f"{self._key(version)}.mp4"
            if copy.is_file():
                return copy
            self.folder.mkdir(parents=True, exist_ok=True)
            with store.local(name) as path:
                if is_still(path):  # whatever its name
                    self._refused.add(name)
                    return None
                atomically(copy, lambda draft: self._write(path, draft))
        except VideoReadError:
            self._refused.add(name)
            return None
        except (OSError, av.FFmpegError) as error:
            raise UserError(f"data.cache_dir: cannot write into {self.folder} ({error.strerror})") from None
        return copy

    def _key(self, version: str) -> str:
        facts = (version, self.short_side, _CODEC, _OPTIONS, _GOP)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]

    @read_anew
    def _write(self, path: Path, draft: Path) -> None:
        with open_video(path) as video, av.open(str(draft), "w", format="mp4") as container:
            stream = container.add_stream(_CODEC, rate=25, options=_OPTIONS)  # frames are asked for by number
            stream.pix_fmt, stream.codec_context.gop_size, stream.thread_count = "yuv420p", _GOP, 1
            for piece in read_pieces(video, range(video.num_frames), self.short_side):
                height, width = (side - side % 2 for side in piece.shape[-2:])  # colour has half the resolution
                if not stream.codec_context.is_open:
                    stream.height, stream.width = height, width
                for image in piece[..., :height, :width].permute(0, 2, 3, 1).contiguous().numpy():
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
            container.mux(stream.encode(None))
