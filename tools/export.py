"""The command ``videoadapt export`` as a file: ``videoadapt export --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
