"""Mutated video files through every decoder: python tests/fuzz_decoders.py [--files 500] [--seed 0]

Each file is read in a worker process under a time limit. A decoder either returns as many frames as asked for, of one
size, or raises VideoReadError; whatever else happens is listed, and the exit code is 1.
"""

import argparse
import logging
import sys
import tempfile
from collections import Counter
from concurrent.futures import TimeoutError
from pathlib import Path

import numpy as np
from pebble import ProcessExpired, ProcessPool
from zoo import WHOLE

from videoadapt.data.sampling import segment_indices
from videoadapt.video import BACKENDS, VideoReadError, open_video

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


def read(path: str, backend: str) -> str:
    """``read`` or ``refused``; anything that is neither is an exception."""
    logging.disable(logging.WARNING)
    try:
        with open_video(path, backend, time_limit=SECONDS / 2) as video:
            wanted = [*segment_indices(video.num_frames, 8)[0], video.num_frames - 1, 0]
            frames = video.frames(wanted)
    except VideoReadError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return "refused"
    assert frames.shape[0] == len(wanted) and frames.shape[3] == 3 and frames.dtype == np.uint8
    return "read"


def run(files: dict[str, Path], backends: list[str], workers: int) -> tuple[Counter, list[str]]:
    """Outcomes by (backend, outcome), and a line for each that should not be."""
    outcomes, failures = Counter(), []
    with ProcessPool(max_workers=workers) as pool:
        jobs = [
            (name, backend, pool.schedule(read, args=[str(path), backend], timeout=SECONDS))
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
    """``count`` damaged files by name, made from the whole zoo in turn."""
    whole = [(name, make(folder / f"whole_{number}")) for number, (name, (make, _)) in enumerate(WHOLE.items())]
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
        outcomes, failures = run(files, args.backends, args.workers)
    for backend in args.backends:
        print(backend, {outcome: count for (name, outcome), count in sorted(outcomes.items()) if name == backend})
    print(*failures, sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
