"""What the programs in ``tools/`` share: arguments, errors, tables."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from videoadapt.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Run a program: a ``UserError`` is one line on stderr and exit code 2, an interrupt is exit code 130."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        main()
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


class Parser(argparse.ArgumentParser):
    """Takes positionals and options in any order, and makes one line of a wrong command line."""

    def __init__(self, description: str) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def parse_args(self, *arguments, **keywords) -> argparse.Namespace:
        return self.parse_intermixed_args(*arguments, **keywords)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help tells more")


def config_parser(description: str) -> Parser:
    """A parser for ``CONFIG [key=value ...]``."""
    parser = Parser(description)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file, e.g. from configs/")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="e.g. optim.lr=1e-3 model.slots.time_out=null"
    )
    return parser


def writable_folder(path: str, key: str) -> Path:
    """Make a folder if need be, and be sure that a file can be written there."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise UserError(f"{key}: cannot write into {folder} ({error.strerror})") from None


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns aligned as markdown, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    numeric = [
        all(isinstance(row[i], int | float) or _is_number(str(row[i])) for row in rows) for i in range(len(header))
    ]
    rule = ["-" * (w - 1) + (":" if n else "-") for w, n in zip(widths, numeric, strict=True)]
    lines = [cells[0], rule, *cells[1:]]
    return "\n".join(
        "| " + " | ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(line, widths, numeric, strict=True)) + " |"
        for line in lines
    )


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).replace("-", "", 1).isdigit() or text == "-"
