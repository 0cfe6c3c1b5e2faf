"""Mutated video files through every decoder: python tests/fuzz_decoders.py [--files 500] [--seed 0]

Each file is read in a worker process under a time limit. A decoder either returns as many frames as asked for, of one
size, or raises VideoReadError; and no frame that is read alone is another one of those that come in order. Whatever
else happens is listed, and the exit code is 1.
"""

import argparse
import logging
import sys
import tempfile
from collections import Counter
from concurrent.futures import TimeoutError
from pathlib import Path

import numpy as np
from odd_files import ODD
from pebble import ProcessExpired, ProcessPool
from zoo import WHOLE

from videoadapt.data.sampling import segment_indices
from videoadapt.video import BACKENDS, Reader, VideoReadError, open_video
from videoadapt.video.decode.common import RecountedError

SECONDS = 30


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage of one kind: single bytes, a run of noise or zeros, a hole, a repeated piece, a missing tail."""
    data = np.frombuffer(content, np.uint8).copy()
    kind, place = rng.integers(6), int(rng.integers(len(data)))
    length = int(rng.integers(1, max(2, len(data) // 8)))
    if kind == 0:
        spots = rng.integers(len(data), size=int(rng.integers(1, 20)))
        data[spots] = rng.integers(256, size=len(spots), dtype=np.uint8)
    elif kind == 1:
        data[place : place + length] = rng.integers(256, size=len(data[place : place + length]), dtype=np.uint8)
    elif kind == 2:
        data[place : place + length] = 0
    elif kind == 3:
        data = np.delete(data, slice(place, place + length))
    elif kind == 4:
        data = np.insert(data, place, data[place : place + length])
    else:
        data = data[:place]
    return data.tobytes()


def read(path: str, backend: str, exact: bool) -> str:
    """``read``, ``refused``, or which frame was misread; anything else is an exception."""
    logging.disable(logging.WARNING)
    try:
        with open_video(path, backend, time_limit=SECONDS / 2) as video:
            wanted = [*segment_indices(video.num_frames, 8)[0], video.num_frames - 1, 0]
            frames = video.frames(wanted)
        if exact and (misread := misread_frame(path, backend)):
            return misread
    except RecountedError:  # opened again, it has the frames that it shows
        return read(path, backend, exact)
    except VideoReadError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return "refused"
    assert frames.shape[0] == len(wanted) and frames.shape[3] == 3 and frames.dtype == np.uint8
    return "read"


def misread_frame(path: str, backend: str) -> str:
    """Which of eight frames is, read alone, another frame of the file: damage may change pixels, but moves none."""
    with open_video(path, backend, time_limit=SECONDS / 2) as video:
        count = video.num_frames
        in_order = [_pixels(video, number) for number in range(count)]
    for number in np.random.default_rng(count).permutation(count)[:8].tolist():
        with open_video(path, backend, time_limit=SECONDS / 2) as video:
            alone = _pixels(video, number) if number < video.num_frames == count else None
        if None not in (alone, in_order[number]) and alone != in_order[number] and alone in in_order:
            return f"frame {number} is frame {in_order.index(alone)} when read alone"
    return ""


def _pixels(video: Reader, number: int) -> bytes | None:
    try:
        return video.frames([number]).tobytes()
    except RecountedError:
        raise
    except VideoReadError:
        return None


def run(files: dict[str, Path], backends: list[str], workers: int, exact: bool) -> tuple[Counter, list[str]]:
    """Outcomes by (backend, outcome), and a line for each that should not be."""
    outcomes, failures = Counter(), []
    with ProcessPool(max_workers=workers) as pool:
        jobs = [
            (name, backend, pool.schedule(read, args=[str(path), backend, exact], timeout=SECONDS))
            for name, path in files.items()
            for backend in backends
        ]
        for name, backend, job in jobs:
            try:
                outcome = job.result()
            except TimeoutError:
                outcome = "hung"
            except ProcessExpired as error:
                outcome = f"died ({error.exitcode})"
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"
            outcomes[backend, outcome] += 1
            if outcome not in {"read", "refused"}:
                failures.append(f"{backend}: {outcome}: {name}")
    return outcomes, failures


def write_mutants(folder: Path, count: int, seed: int) -> dict[str, Path]:
    """``count`` damaged files by name, made from the whole zoo and the odd files in turn."""
    kinds = {name: make for name, (make, _) in WHOLE.items()} | ODD
    whole = [(name, make(folder / f"whole_{number}")) for number, (name, make) in enumerate(kinds.items())]
    mutants = {}
    for number in range(count):
        name, source = whole[number % len(whole)]
        mutant = folder / f"mutant_{number}{source.suffix}"
        mutant.write_bytes(mutate(source.read_bytes(), np.random.default_rng((seed, number))))
        mutants[f"{number} from {name}"] = mutant
    return mutants


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = write_mutants(Path(folder), args.files, args.seed)
        outcomes, failures = run(files, args.backends, args.workers, exact=True)
    for backend in args.backends:
        print(backend, {outcome: count for (name, outcome), count in sorted(outcomes.items()) if name == backend})
    print(*failures, sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
