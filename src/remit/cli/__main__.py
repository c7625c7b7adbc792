"""`python -m remit.cli`: the command `remit`, if its script is not on the path."""

import sys

from remit.cli import main

if __name__ == "__main__":
    sys.exit(main())
