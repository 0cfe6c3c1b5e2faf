"""The command ``videoadapt predict`` as a file: ``videoadapt predict --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["predict", *sys.argv[1:]])
