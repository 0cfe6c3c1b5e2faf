"""The command ``videoadapt train`` as a file: ``videoadapt train --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
