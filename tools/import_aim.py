"""The command ``videoadapt import-aim`` as a file: ``videoadapt import-aim --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["import-aim", *sys.argv[1:]])
