"""The command ``videoadapt``, also as ``python -m videoadapt``."""

import sys
from collections.abc import Sequence

from videoadapt.commands import dispatch
from videoadapt.commands.common import guarded


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a sub-command on these arguments, those of the command line by default."""
    guarded(lambda: dispatch(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
