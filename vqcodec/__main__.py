"""`python -m vqcodec` is `vqcodec`."""

import sys

from vqcodec.cli import main

if __name__ == "__main__":
    sys.exit(main())
