"""The command ``videoadapt digits`` as a file: ``videoadapt digits --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["digits", *sys.argv[1:]])
