"""The command ``videoadapt shards`` as a file: ``videoadapt shards --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["shards", *sys.argv[1:]])
