"""`python -m simulations`: the door to `command`.

Invariant: the exit code is that of what was run, whoever reads along. Neighbours: `outlet` is its stdout;
`meshctl sim` is the other door.
"""

import sys

from protocol.errors import INTERRUPTED
from simulations.command import main
from simulations.outlet import through_outlet, told
from simulations.running import BAD_SCENARIO
from simulations.visible import visible


def door() -> int:
    """Run what the command line says; its exit code. An end by Ctrl-C is a quiet one."""
    try:
        return through_outlet(lambda: main(sys.argv[1:]))
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        what, cure = told(error)
        print(f"error[bad_input]: {visible(what)}\ntry: {cure}", file=sys.stderr)
        return BAD_SCENARIO


if __name__ == "__main__":
    sys.exit(door())
