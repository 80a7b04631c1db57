"""`python -m simulations`: the door to `command`."""

import os
import sys

from simulations.command import main

INTERRUPTED = 130


def door() -> int:
    """Run what the command line says; its exit code. An end by Ctrl-C, or by whoever read along, is a quiet one."""
    try:
        try:
            return main(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads what is printed any more; that is no failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed once more at the end
        return 0


if __name__ == "__main__":
    sys.exit(door())
