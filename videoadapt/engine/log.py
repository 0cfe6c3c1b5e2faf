"""What a run leaves behind to read: ``metrics.jsonl`` and TensorBoard events."""

import json
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Writes scalars of a step to both; on other ranks than the first it writes nothing.

    A resumed run passes the step it goes on ``after``: what an interrupted run logged past it is forgotten.
    """

    def __init__(self, out_dir: Path, enabled: bool = True, after: int = 0) -> None:
        self.enabled = enabled
        if enabled:
            path = out_dir / "metrics.jsonl"
            kept = [line for line in _lines(path) if json.loads(line)["step"] <= after]
            path.write_text("".join(kept), encoding="utf-8")
            self._file = path.open("a", encoding="utf-8")
            self._events = SummaryWriter(str(out_dir), purge_step=after + 1)

    def write(self, step: int, epoch: float, **scalars: float) -> None:
        """One JSON object a line: ``step``, ``epoch`` and the scalars."""
        if not self.enabled:
            return
        self._file.write(json.dumps({"step": step, "epoch": round(epoch, 4), **scalars}) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            self._events.add_scalar(name, value, step)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.enabled:
            self._file.close()
            self._events.close()


def _lines(path: Path) -> list[str]:
    """The whole lines of a log; a torn last one is left out."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
