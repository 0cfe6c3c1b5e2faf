"""What a run leaves behind to read: ``metrics.jsonl`` and TensorBoard events."""

import json
import math
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from videoadapt.atomic import atomically
from videoadapt.errors import UserError

METRICS = "metrics.jsonl"


class RunLog:
    """Writes scalars of a step to both; on other ranks than the first it writes nothing.

    A resumed run passes the step it goes on ``after``: what an interrupted run logged past it is forgotten.
    """

    def __init__(self, out_dir: Path, enabled: bool = True, after: int = 0) -> None:
        self.enabled, self._path = enabled, out_dir / METRICS
        if enabled:
            kept = "".join(_lines_until(self._path, after))
            atomically(self._path, lambda path: path.write_text(kept, encoding="utf-8"))
            self._file = self._path.open("a", encoding="utf-8")
            self._events = SummaryWriter(str(out_dir), purge_step=after + 1)

    def write(self, step: int, epoch: float, **scalars: float) -> None:
        """One JSON object a line: ``step``, ``epoch`` and the scalars; null is what is not finite."""
        if not self.enabled:
            return
        known = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        line = json.dumps({"step": step, "epoch": round(epoch, 4), **known})
        try:
            self._file.write(line + "\n")
            self._file.flush()
            for name, value in known.items():
                if value is not None:
                    self._events.add_scalar(name, value, step)
        except OSError as error:
            raise UserError(
                f"{self._path}: cannot be written ({error.strerror}); make room, then run.resume=true"
            ) from None

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.enabled:
            with suppress(OSError):  # of a full disk, of which a line has told
                self._file.close()
                self._events.close()


def _lines_until(path: Path, last: int) -> list[str]:
    """The lines of a log up to a step; a torn one, and what is no line of ours, is left out."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    kept = []
    for line in text.splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["step"] <= last:
                kept.append(line)
        except (ValueError, TypeError, KeyError):
            continue
    return kept
