"""The cells of a study: run, kept, and what they cost."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

import torch

from videoadapt import builders
from videoadapt.atomic import writable_folder
from videoadapt.config import WITHOUT_EFFECT, Cell, Config, first_difference, validate
from videoadapt.engine import distributed
from videoadapt.engine.cost import saved_bytes, step_seconds
from videoadapt.engine.metrics import ACCURACIES
from videoadapt.engine.precision import chosen_precision, set_arithmetic
from videoadapt.errors import UserError
from videoadapt.signals import StopSignals

_FREE = frozenset({"run", *(f"data.{key}" for key in WITHOUT_EFFECT)})  # what changes no result
_SCORES = (*ACCURACIES, "views")
_CHECKPOINT = "last.safetensors"
PROGRAM = (sys.executable, "-m", "videoadapt")  # a process of its own for a sub-command


def check_models(configs: Iterable[Config]) -> None:
    """Every mistake in a model section is found before the first run."""
    sections = {config.model.model_dump_json(): config.model for config in configs if config.model.zero_shot is None}
    for section in sections.values():
        builders.build_model(section, device="meta")


class CellRunner:
    """Trains and tests cells by a program's ``train`` and ``test``, in processes of their own, one cell on a device."""

    def __init__(self, program: Sequence[str] = PROGRAM, devices: Sequence[str] = ("",)) -> None:
        self._program, self._count = program, len(devices)
        self._free: SimpleQueue[str] = SimpleQueue()
        self._running: set[subprocess.Popen] = set()
        self._lock, self._stopped = Lock(), False
        self._failure: BaseException | None = None  # the first, for which the others end
        for device in devices:
            self._free.put(device)

    def run(self, cells: Sequence[Cell], configs: Mapping[Cell, Config], done: Callable[[Cell], None]) -> None:
        """All cells that are still to do; ``done`` hears of each. The first that fails ends the others, saved.

        Raises Interrupted on a signal, which the running cells get too.
        """
        with StopSignals("the same command goes on") as stop, ThreadPoolExecutor(self._count) as pool:
            jobs = {pool.submit(self._run, cell, configs[cell]): cell for cell in cells}
            try:
                with stop.at_once():
                    for job in as_completed(jobs):
                        if failure := job.exception():
                            raise self._failure or failure
                        done(jobs[job])
            except BaseException as error:
                self._stop(error)
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _stop(self, why: BaseException) -> None:
        """Nothing begins from now on, and what runs is asked to save and end."""
        with self._lock:
            self._stopped, self._failure = True, self._failure or why
            for process in self._running:
                process.send_signal(signal.SIGTERM)

    def _run(self, cell: Cell, config: Config) -> None:
        try:
            self._train_and_test(cell, config)
        except BaseException as error:
            self._stop(error)
            raise

    def _train_and_test(self, cell: Cell, config: Config) -> None:
        if finished(config):
            return
        device = self._free.get()
        try:
            own = [f"run.device={device}"] if device else []
            if config.model.zero_shot is None:
                self._call("train", cell, config, [*own, "run.resume=auto"])
                checkpoint = str(Path(config.run.out_dir, _CHECKPOINT))
                self._call("test", cell, config, [*own, "--checkpoint", checkpoint])
            else:
                self._call("test", cell, config, own)
        finally:
            self._free.put(device)

    def _call(self, job: str, cell: Cell, config: Config, arguments: Sequence[str]) -> None:
        command = [*self._program, job, cell.base, *cell.overrides, *arguments]
        with self._lock:
            if self._stopped:
                raise UserError(f"{cell.name}: not begun, the study was stopped")
            log = writable_folder(config.run.out_dir, "run.out_dir") / f"{job}.log"
            with log.open("w", encoding="utf-8") as file:
                process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
            self._running.add(process)
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        if code:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"]
            why = lines[-1].removeprefix("error: ")
            raise UserError(f"{cell.name}: {job} ended with code {code}: {why} ({log} tells more)")


def finished(config: Config) -> bool:
    """Whether a cell has its results; UserError if they were made with other settings."""
    path = Path(config.run.out_dir, "results.json")
    if not path.is_file():
        return False
    made_with = validate(Config, _results(path)["config"], str(path))
    if difference := first_difference(made_with.model_dump(), config.model_dump(), _FREE):
        key, then, now = difference
        raise UserError(f"{path}: made with {key}={then}, now it is {now}; remove the folder or choose --out")
    return True


def cell_row(cell: Cell, config: Config) -> dict:
    """What a finished cell found, as a line of cells.csv."""
    out = Path(config.run.out_dir)
    found = _results(out / "results.json")
    model = None if config.model.zero_shot else builders.build_model(config.model, device="meta")
    trainable = 0 if model is None else sum(p.numel() for p in model.parameters() if p.requires_grad)
    size = (out / _CHECKPOINT).stat().st_size / 1e6 if (out / _CHECKPOINT).is_file() else 0.0
    names = {key: getattr(cell, key) for key in ("data", "backbone", "variant", "method", "seed")}
    scores = {key: found[key] for key in _SCORES}
    return {**names, **scores, "trainable": trainable, "checkpoint_mb": round(size, 3)}


def measured_costs(cells: Sequence[Cell], configs: Mapping[Cell, Config], batch: int | None) -> dict[str, dict]:
    """``step_ms`` and ``saved_mb`` of each method that trains, on the first data set, backbone and variant."""
    first = [cell for cell in cells if _place(cell) == _place(cells[0])]
    chosen = {cell.method: configs[cell] for cell in first if configs[cell].model.zero_shot is None}
    if not chosen:
        return {}
    config = next(iter(chosen.values()))
    device = distributed.start(config.run.device).device
    set_arithmetic(device, config.run.tf32)
    side, frames = builders.model_input(config.model)["image_size"], config.model.num_frames or 1
    clips = torch.randn(batch or config.optim.batch_size, 3, frames, side, side, device=device)
    models = {method: builders.build_model(each.model, device) for method, each in chosen.items()}
    precision = chosen_precision(config.run.precision, device)
    seconds = step_seconds(models, clips, precision)
    saved = {method: saved_bytes(model, clips, precision) for method, model in models.items()}
    return {method: {"step_ms": 1e3 * seconds[method], "saved_mb": saved[method] / 1e6} for method in models}


def _place(cell: Cell) -> tuple[str, str, str]:
    return cell.data, cell.backbone, cell.variant


def _results(path: Path) -> dict:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        results = None
    if not isinstance(results, dict) or not results.keys() >= {"config", *_SCORES}:
        raise UserError(f"{path}: not the results of 'videoadapt test'; remove the folder")
    return results
