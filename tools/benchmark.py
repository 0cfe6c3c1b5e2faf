"""The command ``videoadapt benchmark`` as a file: ``videoadapt benchmark --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["benchmark", *sys.argv[1:]])
