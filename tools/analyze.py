"""The command ``videoadapt analyze`` as a file: ``videoadapt analyze --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["analyze", *sys.argv[1:]])
