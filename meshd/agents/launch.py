"""What runs in an agent's process before the agent: it makes sure that the process dies with the daemon.

Invariant: nothing of the agent runs before its limits stand. It is run as a file by a bare interpreter, so it
imports nothing of meshd; `child` starts it. What went wrong is written to the descriptor it is given.
"""

import os
import sys

FAILED = 127  # the exit code when the command could not be started, as of a shell

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def confine(parent: int, memory_bytes: int) -> None:
    """Die with the process `parent`, and get no more than `memory_bytes` of memory (0: no limit)."""
    if sys.platform == "linux":
        import ctypes

        # The signal is bound to the thread that spawned us; the daemon spawns from its main thread.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(FAILED)  # it died before we could ask for the signal
    if memory_bytes:
        import resource

        # DATA counts what is written to; AS would count what runtimes merely reserve.
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        bound = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))


def main() -> None:
    """`launch.py PARENT MEMORY_BYTES REPORT_FD COMMAND...`: become COMMAND."""
    parent, memory_bytes, report = (int(word) for word in sys.argv[1:4])
    command = sys.argv[4:]
    os.set_inheritable(report, False)  # closes when the command begins: silence is success
    try:
        confine(parent, memory_bytes)
        os.execvp(command[0], command)  # noqa: S606 - what the manifest says, as words
    except (OSError, ValueError) as failure:
        os.write(report, (getattr(failure, "strerror", None) or str(failure)).encode())
    os._exit(FAILED)


if __name__ == "__main__":
    main()
