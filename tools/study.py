"""The command ``videoadapt study`` as a file: ``videoadapt study --help`` tells what it does."""

import sys

from videoadapt.__main__ import main

if __name__ == "__main__":
    main(["study", *sys.argv[1:]])
