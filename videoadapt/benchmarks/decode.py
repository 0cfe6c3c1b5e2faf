"""What reading videos costs: ours against the decoders alone and against the usual ways to use them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from videoadapt.benchmarks.rows import Side, rows
from videoadapt.data.sampling import segment_indices
from videoadapt.video import Backend, is_available, open_video
from videoadapt.video.cache import VideoCache
from videoadapt.video.reader import VideoReader
from videoadapt.video.resize import resize_short_side

Frames = Callable[[], np.ndarray | torch.Tensor]


def write_clip(path: Path, height: int, width: int, gop: int, frames: int = 300) -> Path:
    """H.264 as x264 makes it by default: a texture that drifts under sensor noise, 30 frames a second."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (height // 8 + 50, width // 8 + 80, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "23"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.gop_size = gop
        for number in range(frames):
            top, left = number % 300, 2 * (number % 300)
            noise = rng.integers(-6, 7, (height, width, 1), dtype=np.int16)
            image = texture[top : top + height, left : left + width] + noise
            frame = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def backend_rows(path: Path, clip_len: int, rounds: int) -> list[dict[str, Any]]:
    """Our default on ``clip_len`` segment frames against each peer: the libraries alone, and decoding everything."""
    with open_video(path) as video:
        count = video.num_frames
        indices = segment_indices(count, clip_len)[0]
    ours = f"pyav[{clip_len} of {count}]"
    sides: dict[str, Frames] = {
        ours: partial(_through_us, path, "pyav", indices),
        "PyAV, every frame to rgb": partial(_every_frame, path, indices),
        "PyAV, one forward pass": partial(_forward_pass, path, indices),
    }
    peers: dict[Backend, Callable[..., np.ndarray]] = {"decord": _decord, "torchcodec": _torchcodec}
    for backend, alone in peers.items():
        if is_available(backend):
            sides[f"{backend} alone"] = partial(alone, path, indices)
            sides[f"data.decoder={backend}"] = partial(_through_us, path, backend, indices)
    return _rows(path, ours, sides, rounds)


def cache_rows(path: Path, folder: Path, clip_len: int, rounds: int) -> list[dict[str, Any]]:
    """A copy of ``data.cache_dir`` against the original, both to a short side of 256."""
    indices = partial(segment_indices, clip_len=clip_len)
    cached = VideoReader(str(path.parent), short_side=256, cache=VideoCache(folder, 256))
    plain = VideoReader(str(path.parent), short_side=256)
    sides: dict[str, Frames] = {
        "cache_dir[256]": lambda: cached.clips(path.name, indices).frames,
        "the original": lambda: plain.clips(path.name, indices).frames,
    }
    return _rows(path, "cache_dir[256]", sides, rounds)


def resize_rows(path: Path, pixels: int, clip_len: int, rounds: int) -> list[dict[str, Any]]:
    """Our antialiased resize of each decoded frame against FFmpeg's own scaler, after the same forward pass."""
    with open_video(path) as video:
        indices = segment_indices(video.num_frames, clip_len)[0]
    ours = f"resize[{pixels}]"
    sides: dict[str, Frames] = {
        ours: lambda: resize_short_side(
            torch.from_numpy(_forward_pass(path, indices)).permute(0, 3, 1, 2), pixels
        ).contiguous(),
        "FFmpeg's scaler": lambda: _forward_pass(path, indices, partial(_scaled, pixels=pixels)),
    }
    return _rows(path, ours, sides, rounds)


def _rows(path: Path, ours: str, sides: dict[str, Frames], rounds: int) -> list[dict[str, Any]]:
    """The bytes are those of the frames."""
    sides = {ours: sides[ours], **sides}
    return rows({name: Side(call, call().nbytes) for name, call in sides.items()}, rounds, video=path.name)


def _through_us(path: Path, backend: Backend, indices: np.ndarray) -> np.ndarray:
    with open_video(path, backend) as video:
        return video.frames(indices)


def _every_frame(path: Path, indices: np.ndarray) -> np.ndarray:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def _native(frame: av.VideoFrame) -> np.ndarray:
    return frame.to_ndarray(format="rgb24")


def _scaled(frame: av.VideoFrame, pixels: int) -> np.ndarray:
    height, width = (round(side * pixels / min(frame.height, frame.width)) for side in (frame.height, frame.width))
    return frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()


def _forward_pass(path: Path, indices: np.ndarray, convert: Callable = _native) -> np.ndarray:
    wanted, images = set(indices.tolist()), []
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                images.append(convert(frame))
            if number == indices[-1]:
                break
    return np.stack(images)


def _decord(path: Path, indices: np.ndarray) -> np.ndarray:
    import decord

    return decord.VideoReader(str(path), num_threads=1).get_batch(indices.tolist()).asnumpy()


def _torchcodec(path: Path, indices: np.ndarray) -> np.ndarray:
    from torchcodec.decoders import VideoDecoder  # type: ignore[attr-defined, unused-ignore]  # its __init__ names no exports

    decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1)
    return decoder.get_frames_at(indices.tolist()).data.numpy()
