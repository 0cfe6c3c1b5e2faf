"""The command ``videoadapt demo`` as a file: ``videoadapt demo --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])
