"""What a run leaves in its folder: checkpoints, metrics, and states to go on from."""

import io
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict  # pydantic wants the latter before Python 3.12

from videoadapt.atomic import atomically, sync
from videoadapt.engine import distributed
from videoadapt.engine.checkpoint import check_finite, save_checkpoint, trainable_tensors
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.learner import START_ANEW, Learner
from videoadapt.engine.log import METRICS
from videoadapt.errors import UserError
from videoadapt.tensorfile import read_tensors

log = logging.getLogger(__name__)
_BEGUN = (METRICS, "events.out.tfevents*")  # what a run has before it saves anything
RUN_FILES = (*_BEGUN, "last.safetensors", "best.safetensors", "resume_[0-9]*.pt")
TEST_FILES = ("results.json", "predictions*.npz", "report.html")  # what a test puts beside them
_FORMAT = "videoadapt-resume-1"
Count = Annotated[int, Field(ge=0, strict=True)]


@dataclass
class Progress:
    """Where a run stands."""

    step: Count = 0
    epoch: Count = 0  # finished ones, with their evaluation
    best_top1: float = -1.0
    logged: Count = 0  # the last step that the metrics hold
    failed_steps: Count = 0
    record: dict[str, int | float] = field(default_factory=dict)  # the last made of a step
    unreadable: list[str] = field(default_factory=list)  # messages, one for each video


class _Moments(TypedDict):
    state: dict[int, dict[str, Any]]


class _State(TypedDict):
    tensors: dict[str, Any]
    optimizer: _Moments
    scaler: dict[str, Any]
    progress: Progress
    layout: dict[str, int]
    lists: NotRequired[dict[str, str]]  # younger than the format


_WHOLE = TypeAdapter(_State)


class RunFolder:
    """Written by the first rank alone; every rank calls every method.

    Args:
        about: facts that every checkpoint carries.
        layout: numbers on which a state depends, such as that of ranks: it is of no use to a run with others.
        keep_last: resume states.
        lists: fingerprints of what a run is made of, by the key that names it.
    """

    def __init__(
        self,
        path: Path,
        ranks: Ranks,
        about: Mapping[str, Any],
        layout: Mapping[str, int],
        keep_last: int = 2,
        lists: Mapping[str, str] | None = None,
    ) -> None:
        self.path, self.ranks, self.about, self.layout, self.keep_last = path, ranks, about, dict(layout), keep_last
        self.lists = dict(lists or {})
        self._good: str | None = None  # the state that was read or written last

    def restore(self, learner: Learner) -> Progress:
        """Load the newest state that can be read; the first rank reads for all."""
        source, state = distributed.from_main(self._newest() if self.ranks.is_main else None)
        for key, now in self.layout.items():
            if (then := state["layout"].get(key)) != now:
                raise UserError(f"{source}: its {key} was {then}, now it is {now}; resume it as it began")
        for key, print_now in self.lists.items():
            if state.get("lists", {}).get(key, print_now) != print_now:
                what = f"{key} had other paths or labels, or another order of them, when the run began"
                raise UserError(f"{source}: {what}; resume it with the list as it was, or {START_ANEW}")
        learner.load(state, source)
        self._good = source
        return state["progress"]

    def _newest(self) -> tuple[str, Mapping[str, Any]]:
        """The newest state, or the one before it if that is damaged, as a warning says."""
        *older, newest = resume_states(self.path)
        try:
            return str(newest), read_state(newest)
        except UserError as error:
            for path in reversed(older):
                try:
                    state = read_state(path)
                except UserError:
                    continue
                log.warning("%s; %s is good, going on from it", error, path)
                return str(path), state
            raise

    def save(self, learner: Learner, progress: Progress, top1: float | None = None) -> None:
        """Checkpoint and resume state, and the best checkpoint if ``top1`` is; back when they are on disk."""
        if best := top1 is not None and top1 > progress.best_top1:
            progress.best_top1 = top1
        if self.ranks.is_main:
            try:
                self._save(learner, progress, top1, best)
            except OSError as error:
                why = f"{self.path}: cannot be written ({error.strerror})"
                good = f"{self._good} is whole: make room, then run.resume=true"
                raise UserError(f"{why}; {good if self._good else 'nothing was saved before'}") from None
        distributed.gather(None)

    def _save(self, learner: Learner, progress: Progress, top1: float | None, best: bool) -> None:
        sync(self.path / METRICS)
        tensors = trainable_tensors(learner.model)
        about = {**self.about, "step": progress.step, "epoch": progress.epoch, "top1": top1}
        if best:
            save_checkpoint(self.path / "best.safetensors", tensors, about)
        save_checkpoint(self.path / "last.safetensors", tensors, about)
        state = {"format": _FORMAT, "layout": self.layout, "lists": self.lists}
        state |= {"progress": asdict(progress), **learner.state()}
        packed = io.BytesIO()
        torch.save(state, packed)
        newest = self.path / f"resume_{progress.step:08d}.pt"
        atomically(newest, lambda path: path.write_bytes(packed.getbuffer()))
        self._good = str(newest)
        states = _steps(self.path)
        # Later ones were damaged.
        kept = [path for path, step in states.items() if step <= progress.step][-self.keep_last :]
        for path in set(states) - set(kept):
            path.unlink()


def room_needed(model: torch.nn.Module, keep_last: int) -> int:
    """Bytes that the files of a run take at most, one more state than is kept among them."""
    once = sum(tensor.numel() * tensor.element_size() for tensor in trainable_tensors(model).values())
    return (3 * (keep_last + 1) + 3) * once + 2**24  # weights and two moments in a state; three checkpoints; the log


def held_files(folder: Path, patterns: Sequence[str] = (*RUN_FILES, *TEST_FILES)) -> list[Path]:
    """What runs and their tests have left in a folder."""
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def check_free(folder: Path, key: str, *, resume: bool) -> None:
    """UserError if a run that begins there would remove what an earlier one has left.

    With ``resume``, one that ended before its first state may begin anew: its log is all that it has, and perhaps the
    checkpoint that is written just before that state.
    """
    held = held_files(folder)
    if resume and not resume_states(folder):
        unfinished = (*_BEGUN, "last.safetensors") if (folder / METRICS).exists() else _BEGUN
        if held := [path for path in held if path not in held_files(folder, unfinished)]:
            raise UserError(
                f"{folder}: holds a run whose resume_*.pt are gone; {START_ANEW}, and removes {_and_more(held)}"
            )
    if held and not resume:
        going_on = "run.resume=auto or " if resume_states(folder) or (folder / METRICS).exists() else "or "
        removes = f"run.overwrite=true, which removes {_and_more(held)}"
        raise UserError(f"{folder}: holds a run; choose another {key}, {going_on}{removes}")


def _and_more(paths: Sequence[Path]) -> str:
    return f"{paths[0].name}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def resume_states(folder: Path) -> list[Path]:
    """The states in a folder, oldest first."""
    return list(_steps(folder))


def _steps(folder: Path) -> dict[Path, int]:
    """The same, each with the step after which it was written; other files are passed over."""
    matches = {path: re.fullmatch(r"resume_(\d{8,})\.pt", path.name) for path in folder.glob("resume_*.pt")}
    steps = {path: int(match[1]) for path, match in matches.items() if match}
    return dict(sorted(steps.items(), key=lambda item: item[1]))


def read_state(path: Path) -> Mapping[str, Any]:
    """A state that ``RunFolder.save`` wrote; UserError for whatever else the file may be. No pickled code runs."""
    try:
        state = read_tensors(path)
    except ValueError as error:
        raise UserError(f"{path}: not a readable resume state ({error}); {START_ANEW}") from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise UserError(f"{path}: not a resume state of videoadapt; {START_ANEW}")
    try:
        whole = _WHOLE.validate_python(state)
    except ValidationError:
        raise UserError(f"{path}: a damaged resume state; {START_ANEW}") from None
    moments = {
        f"{name} of parameter {number}": value
        for number, of_one in whole["optimizer"]["state"].items()
        for name, value in of_one.items()
    }
    check_finite({**whole["tensors"], **moments}, path)
    return whole
