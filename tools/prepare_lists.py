"""The command ``videoadapt lists`` as a file: ``videoadapt lists --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["lists", *sys.argv[1:]])
