"""The sub-commands of ``videoadapt``, one small module each: parse, call, print.

A module has a docstring, which ``--help`` shows and whose first line stands in the overview, ``add_arguments(parser)``
and ``run(args)``. What takes long to import, torch above all, is imported in ``run``.
"""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from videoadapt.commands.common import Parser
from videoadapt.errors import UserError, similar

COMMANDS = {  # by what one wants to do
    "Try it": ("demo", "digits"),
    "Prepare data": ("lists", "check", "shards"),
    "Train and test": ("configs", "train", "test", "study", "fuse"),
    "Use a model": ("predict", "attention", "export", "hub", "import-aim"),
    "Measure": ("analyze", "benchmark"),
}
NAMES = tuple(name for names in COMMANDS.values() for name in names)
SHELLS = ("bash", "zsh", "fish")


def dispatch(arguments: Sequence[str]) -> None:
    """Run the sub-command that the first argument names."""
    first, *rest = arguments or ["--help"]
    if first in {"-h", "--help", "help"}:
        print(overview())
    elif first == "--version":
        from videoadapt import __version__

        print(f"videoadapt {__version__}")
    elif first == "--print-completion":
        print(completion(*rest))
    elif first in NAMES:
        parser = command_parser(first)
        module(first).run(parser.parse_args(rest))
    else:
        close = similar(first, NAMES)
        hint = f"did you mean '{close}'?" if close else "'videoadapt --help' lists the commands"
        raise UserError(f"there is no command '{first}'; {hint}")


def module(name: str) -> ModuleType:
    """That of a sub-command."""
    return import_module(f"{__name__}.{name.replace('-', '_')}")


def command_parser(name: str) -> Parser:
    """The arguments of a sub-command."""
    found = module(name)
    parser = Parser(f"videoadapt {name}", found.__doc__ or "")
    found.add_arguments(parser)
    return parser


def overview() -> str:
    """All commands with a line for each, grouped by what one wants to do; it fits one screen."""
    lines = ["usage: videoadapt COMMAND ...     ('videoadapt COMMAND --help' tells more)"]
    for heading, names in COMMANDS.items():
        lines += [heading, *(f"  {name:<11} {summary(name)}" for name in names)]
    return "\n".join([*lines, f"Also: --version, --print-completion {{{','.join(SHELLS)}}}"])


def summary(name: str) -> str:
    """What a sub-command does, in one line."""
    return (module(name).__doc__ or "").strip().split("\n")[0].rstrip(".")


def completion(shell: str = "", *_: str) -> str:
    """A script that completes commands, options and the names of files in a shell."""
    import shtab

    if shell not in SHELLS:
        raise UserError(f"--print-completion '{shell}': choose from: {', '.join(SHELLS)}")
    whole = Parser("videoadapt", "")
    commands = whole.add_subparsers(  # type: ignore[call-overload]  # what makes a parser does as well as a class
        dest="command", parser_class=lambda **own: Parser(own["prog"], "")
    )
    for name in NAMES:
        parser = commands.add_parser(name, help=summary(name))
        module(name).add_arguments(parser)
        for action in parser._actions:
            if action.nargs != 0 and not action.choices:
                action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
    return shtab.complete(whole, shell)
