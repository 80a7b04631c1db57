"""`python -m simulations`: the door to `command`."""

import sys

from simulations.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
