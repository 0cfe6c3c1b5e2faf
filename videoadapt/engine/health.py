"""What may go wrong in a training and is not worth its end, up to a point."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import torch

from videoadapt.engine import distributed
from videoadapt.engine.folder import Progress
from videoadapt.engine.learner import Outcome
from videoadapt.errors import UserError

log = logging.getLogger(__name__)
_NAMED = 16  # videos in a message


class Health:
    """Names every unreadable video once and every step that was skipped; ends a run that has too many.

    Args:
        progress: keeps the counts, so that a resumed run goes on with them.
        num_videos: in the list.
        max_bad_share: of them that may be unreadable.
        max_bad_steps: that may be skipped.
    """

    def __init__(self, progress: Progress, num_videos: int, max_bad_share: float, max_bad_steps: int) -> None:
        self.progress, self.num_videos = progress, num_videos
        self.max_bad_share, self.max_bad_steps = max_bad_share, max_bad_steps

    def check_videos(self, batches: Sequence[list]) -> None:
        """Of the ``Sample``s that this rank reads; not yet known to the others."""
        known = self.progress.unreadable
        for sample in (sample for batch in batches for sample in batch):
            for message in sample.unreadable:
                if _path(message) not in map(_path, known):
                    known.append(message)
                    log.warning("unreadable, replaced by another video: %s", message)
            if sample.views is None or len(known) > self.max_bad_share * self.num_videos:
                self._stop_for(sample.unreadable[-1])

    def share(self) -> None:
        """Count the unreadable videos that any rank met."""
        messages = [message for share in distributed.gather(self.progress.unreadable) for message in share]
        self.progress.unreadable = sorted({_path(message): message for message in messages}.values())
        if len(self.progress.unreadable) > self.max_bad_share * self.num_videos:
            self._stop_for(self.progress.unreadable[0])

    def check_step(self, step: int, outcome: Outcome, paths: Sequence[str]) -> None:
        """Count a step whose loss or gradient was not finite, and name its videos, of every rank."""
        if not outcome.failed:
            return
        self.progress.failed_steps += 1
        videos = [path for share in distributed.gather(paths) for path in share]
        more = f" and {len(videos) - _NAMED} more" if len(videos) > _NAMED else ""
        what = f"loss {outcome.loss:g}" if not math.isfinite(outcome.loss) else f"gradient norm {outcome.grad_norm:g}"
        message = f"step {step} skipped: {what} on {', '.join(videos[:_NAMED])}{more}"
        if self.progress.failed_steps > self.max_bad_steps:
            raise UserError(
                f"{message}; {self.progress.failed_steps} steps were skipped, more than run.max_bad_steps="
                f"{self.max_bad_steps} allows; look at these videos, lower optim.lr or set optim.clip_grad"
            )
        log.warning("%s", message)

    def check_learnt(self) -> None:
        """At the end of a run: UserError if it did not learn, however few its steps were."""
        skipped, steps = self.progress.failed_steps, self.progress.step
        if 2 * skipped > steps:
            what = f"nothing was learnt: {skipped} of {steps} steps were skipped, their loss or gradient was not finite"
        elif not math.isfinite(self.progress.record.get("loss", 0.0)):
            what = f"the training diverged: the loss of its last step is {self.progress.record['loss']:g}"
        else:
            return
        raise UserError(f"{what}; lower optim.lr or set optim.clip_grad")

    def _stop_for(self, message: str) -> NoReturn:
        raise UserError(
            f"{len(self.progress.unreadable)} of {self.num_videos} training videos are unreadable, more than "
            f"data.max_bad_share={self.max_bad_share:g} allows; 'videoadapt check' finds them all; e.g. {message}"
        )


def _path(message: str) -> str:
    """What a message about a video begins with; the rest may be another one each time."""
    return message.partition(": ")[0]


@contextmanager
def memory_advice(remedy: str) -> Iterator[None]:
    """Make one line of a device that is out of memory, with what to lower, and of a data worker that was killed."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        wanted = next((part for part in str(error).split(". ") if part.startswith("Tried to allocate")), "")
        raise UserError(f"out of GPU memory ({wanted or 'no details'}); {remedy}") from None
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        what = str(error).splitlines()[0].rstrip(". ")
        raise UserError(f"{what}; a decoder crashed, or memory is short: lower data.workers") from None
