"""Smaller copies of videos on disk: decoded once at their full size, then read cheaply for the rest of a training."""

import hashlib
import os
from pathlib import Path

import av

from videoadapt.atomic import atomically
from videoadapt.data.decode import VideoReadError, open_video
from videoadapt.data.decode.picture import SUFFIXES
from videoadapt.data.reader import read_pieces
from videoadapt.errors import UserError

# Of the codecs tried the best of speed, size and likeness (40 dB on real clips): quantiser 2, short GOPs.
_CODEC, _OPTIONS, _GOP = "mpeg4", {"qmin": "2", "qmax": "2", "bf": "0"}, 4


class VideoCache:
    """Copies with ``short_side`` pixels (None: as large as the original) in ``folder``, one file a video.

    A copy is found by the original's path, size and time of change. It is written under a temporary name first, so
    processes may share the folder and a killed one leaves no torn copy.
    """

    def __init__(self, folder: str | os.PathLike, short_side: int | None = None) -> None:
        self.folder, self.short_side = Path(folder), short_side
        self._refused: set[Path] = set()

    def __call__(self, path: Path) -> Path:
        """The copy of ``path``, made if there is none; ``path`` itself if it is a picture or cannot be read whole."""
        if path.suffix.lower() in SUFFIXES or path in self._refused:
            return path
        try:
            copy = self.folder / f"{self._key(path)}.mp4"
        except OSError:  # missing: reading it will say so
            return path
        if copy.is_file():
            return copy
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            atomically(copy, lambda draft: self._write(path, draft))
        except VideoReadError:
            self._refused.add(path)
            return path
        except (OSError, av.FFmpegError) as error:
            raise UserError(f"data.cache_dir: cannot write into {self.folder} ({error.strerror})") from None
        return copy

    def _key(self, path: Path) -> str:
        status = path.stat()
        facts = (str(path.resolve()), status.st_size, status.st_mtime_ns, self.short_side, _CODEC, _OPTIONS, _GOP)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]

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
