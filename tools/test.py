"""The command ``videoadapt test`` as a file: ``videoadapt test --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["test", *sys.argv[1:]])
