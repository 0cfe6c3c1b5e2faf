"""The command ``videoadapt fuse`` as a file: ``videoadapt fuse --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["fuse", *sys.argv[1:]])
