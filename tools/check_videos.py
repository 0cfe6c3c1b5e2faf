"""The command ``videoadapt check`` as a file: ``videoadapt check --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["check", *sys.argv[1:]])
