"""A file becomes frames: decoders, readers, stores of files, smaller copies, encoding."""

from videoadapt.video.decode import BACKENDS, Backend, is_available, open_video, require_backend
from videoadapt.video.decode.common import Reader, VideoReadError, is_uneven, read_anew
from videoadapt.video.media import MEDIA, PICTURES, VIDEOS

__all__ = [
    "BACKENDS",
    "MEDIA",
    "PICTURES",
    "VIDEOS",
    "Backend",
    "Reader",
    "VideoReadError",
    "is_available",
    "is_uneven",
    "open_video",
    "read_anew",
    "require_backend",
]
