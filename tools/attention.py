"""The command ``videoadapt attention`` as a file: ``videoadapt attention --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["attention", *sys.argv[1:]])
