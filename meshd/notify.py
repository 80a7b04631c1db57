"""A word to the service manager that started the daemon: it is ready, it is stopping.

Invariant: nothing is said where nobody asked (`NOTIFY_SOCKET`), and whoever does not listen changes
nothing. Neighbour: `app` says it. Format: sd_notify(3), one datagram of assignments.
"""

import contextlib
import os
import socket
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"


def tell(state: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send it to the socket that the environment names: a path, or `@` and a name of the abstract kind."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asked, contextlib.suppress(OSError):
        asked.setblocking(False)
        asked.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
