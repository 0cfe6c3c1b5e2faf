"""decord in a process of its own, where it may crash or hang without harm. Started by file name: imports no torch.

Requests are lines of JSON: ``{"open": key, "path": name}``, ``{"read": key, "indices": [...]}``, ``{"close": key}``.
The answer to each is a line of JSON with ``length``, ``error``, or the ``shape`` of uint8 frames, whose bytes follow.
"""

import json
import os
import sys


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the library prints is no answer
    sys.path.pop(0)  # this folder, where the name means another module
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    readers = {}
    for line in sys.stdin:
        request, frames, answer = json.loads(line), None, {}
        try:
            if "open" in request:
                readers[request["open"]] = decord.VideoReader(request["path"], num_threads=1)
                answer = {"length": len(readers[request["open"]])}
            elif "read" in request:
                frames = readers[request["read"]].get_batch(request["indices"]).asnumpy()
                answer = {"shape": frames.shape}
            else:  # decord decodes ahead in the background as long as a reader lives
                readers.pop(request["close"], None)
        except Exception as error:
            answer = {"error": (str(error).strip().splitlines() or [type(error).__name__])[0]}
        answers.write(json.dumps(answer).encode() + b"\n")
        if frames is not None:
            answers.write(frames.data)
        answers.flush()


if __name__ == "__main__":
    main()
