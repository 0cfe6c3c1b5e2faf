"""decord in a process of its own, where it may crash or hang without harm. Started by file name: imports no torch.

Requests are lines of JSON: ``{"open": key, "path": name}``, ``{"read": key, "indices": [...]}``, ``{"close": key}``.
The answer to each is a line of JSON with ``length``, ``error``, or the ``shape`` of uint8 frames, whose bytes follow.
A request's ``seconds`` are its limit: past it the kernel ends the process, whether decord holds Python's lock or not.
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the library prints is no answer
    here = Path(__file__).resolve().parent
    sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != here]  # decord means another module here
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # a terminal or cluster sends them to the owner too
        signal.signal(number, signal.SIG_IGN)
    readers: dict = {}
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request.get("seconds") or 0)
        answer, frames = respond(request, readers, decord)
        answers.write(json.dumps(answer).encode() + b"\n")
        if frames is not None:
            answers.write(frames.data)
        answers.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)


def respond(request: dict, readers: dict, decord: ModuleType) -> tuple:
    """The answer, and frames if it has a shape."""
    try:
        if "open" in request:
            readers[request["open"]] = decord.VideoReader(request["path"], num_threads=1)
            return {"length": len(readers[request["open"]])}, None
        if "read" in request:
            frames = readers[request["read"]].get_batch(request["indices"]).asnumpy()
            return {"shape": frames.shape}, frames
        readers.pop(request["close"], None)  # decord decodes ahead in the background as long as a reader lives
        return {}, None
    except Exception as error:
        return {"error": (str(error).strip().splitlines() or [type(error).__name__])[0]}, None


if __name__ == "__main__":
    main()
