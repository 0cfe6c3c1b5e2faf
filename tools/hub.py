"""The command ``videoadapt hub`` as a file: ``videoadapt hub --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["hub", *sys.argv[1:]])
