"""What the commands share: arguments, errors, exit codes."""

import argparse
import errno
import json
import logging
import multiprocessing
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from videoadapt.atomic import remove_unused_folders
from videoadapt.errors import Interrupted, PeerLost, UserError

MISTAKE, ALONE, STOPPED, ABORTED = 2, PeerLost.exit_code, 75, 130  # exit codes; 75 is "try again" in sysexits.h
_LAUNCHER = 15.0  # seconds in which it ends the ranks that are left


def guarded(main: Callable[[], None]) -> None:
    """Run a command, with one line on stderr for what its user can correct or should know, and an exit code.

    2 is a ``UserError``, 75 an orderly end on a signal, 130 an interrupt without one, 3 the end of another rank. Of
    several ranks, those but the first begin their lines with their number.
    """
    for stream in (sys.stdout, sys.stderr):  # file names need not be UTF-8
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    rank = os.environ.get("RANK", "")
    prefix = f"rank {rank}: " if rank.isdecimal() and int(rank) else ""
    logging.basicConfig(format=f"{prefix}%(message)s", level=logging.WARNING)
    logging.getLogger("videoadapt").setLevel(logging.INFO)
    try:
        try:
            main()
        except SystemExit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # here, where it can be told that it fails
    except UserError as error:
        remove_unused_folders()
        _end(MISTAKE, f"{prefix}error: {error}")
    except Interrupted as stop:
        _end(STOPPED, f"{prefix}{stop}")
    except PeerLost as error:
        time.sleep(_LAUNCHER)  # the rank that failed is to be the first that the launcher sees
        _end(ALONE, f"{prefix}{error}")
    except KeyboardInterrupt:
        _end_workers()
        sys.exit(ABORTED)
    except OSError as error:  # a full disk, a name that is a folder or too long
        if error.filename is not None:
            _end(MISTAKE, f"{prefix}error: {error.filename}: {error.strerror}")
        if error.errno == errno.EPIPE and _nobody_reads():  # a pager, or head, that has seen enough
            _discard_output()
            sys.exit(ABORTED)
        if error.errno != errno.ENOSPC:
            raise
        _discard_output()
        _end(MISTAKE, f"{prefix}error: the output cannot be written: {error.strerror}")
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's; outside of the loops, which tell more
            raise
        _end(MISTAKE, f"{prefix}error: out of GPU memory; lower the batch size, or free the GPU of other programs")


def _nobody_reads() -> bool:
    """Whether standard output is a pipe whose reader has gone."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return bool(poll.poll(0))


def _discard_output() -> None:
    """What is left in the buffer is not tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(code: int, message: str) -> NoReturn:
    _end_workers()
    message = " ".join(message.split())
    print(message, file=sys.stderr, flush=True)
    if "TORCHELASTIC_ERROR_FILE" in os.environ:  # torchrun's summary shows what stands there, of the first to fail
        about = {"py_callstack": message, "timestamp": str(int(time.time()))}
        report = {"message": {"message": message, "extraInfo": about}}
        Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps(report), encoding="utf-8")
    if code == ALONE and _on_gpu():
        os._exit(code)  # the GPU waits for the other ranks, and Python's orderly way out would wait for the GPU
    sys.exit(code)


def _on_gpu() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def _end_workers() -> None:
    """Nobody waits for what they read, and one that hangs would be waited for for ever."""
    workers = multiprocessing.active_children()
    if not workers:
        return
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would complain of their death
    for process in workers:
        process.kill()
        process.join(5)
    signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


class Parser(argparse.ArgumentParser):
    """Takes positionals and options in any order, and makes one line of a wrong command line."""

    def __init__(self, prog: str, description: str) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, formatter_class=formatter, allow_abbrev=False)

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        return self.parse_intermixed_args(args, namespace)

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", file=file)  # argparse's own way passes over a disk that is full

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; '{self.prog} --help' tells more")


def add_config(parser: argparse.ArgumentParser) -> None:
    """``CONFIG [key=value ...]``."""
    help = "a YAML file, or the name of a packaged config such as diving48/loki_clip_b16_8f"
    parser.add_argument("config", metavar="CONFIG", help=help)
    add_overrides(parser, "e.g. optim.lr=1e-3 model.slots.time_out=null")


def add_overrides(parser: argparse.ArgumentParser, help: str) -> None:
    """``[key=value ...]``."""
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help=help)


def add_model(parser: argparse.ArgumentParser) -> None:
    """``CHECKPOINT``, and where its backbone's weights are."""
    help = "of 'videoadapt train': a file, a folder or hf://owner/name"
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=help)
    add_pretrained(parser)


def add_pretrained(parser: argparse.ArgumentParser) -> None:
    help = "where the backbone's weights are now, if they are not where the config says"
    parser.add_argument("--pretrained", metavar="FILE | TAG", help=help)


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto (the default), cpu, cuda or cuda:<number>")
