"""What a run leaves behind to read: ``metrics.jsonl`` and TensorBoard events."""

import json
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Writes scalars of a step to both; on other ranks than the first it writes nothing."""

    def __init__(self, out_dir: Path, enabled: bool = True) -> None:
        self.enabled = enabled
        if enabled:
            self._lines = (out_dir / "metrics.jsonl").open("a", encoding="utf-8")
            self._events = SummaryWriter(str(out_dir))

    def write(self, step: int, epoch: float, **scalars: float) -> None:
        """One JSON object a line: ``step``, ``epoch`` and the scalars."""
        if not self.enabled:
            return
        self._lines.write(json.dumps({"step": step, "epoch": round(epoch, 4), **scalars}) + "\n")
        self._lines.flush()
        for name, value in scalars.items():
            self._events.add_scalar(name, value, step)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.enabled:
            self._lines.close()
            self._events.close()
