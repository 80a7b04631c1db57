"""Under which addresses other hosts can reach a server that listens here.

Invariant: loopback stays loopback; a server that listens everywhere is named by the addresses this
host has. Sends nothing. Neighbours: `app` puts these into invitations.
"""

import socket

from meshd.addresses import is_loopback, joined

WILDCARDS = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}  # noqa: S104 - compared with, not bound
_BEYOND = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # RFC 5737 and 3849: nobody's


def reachable(host: str, port: int) -> tuple[str, ...]:
    """URLs of a server on `host` and `port`, as other hosts may use them."""
    family = WILDCARDS.get(host)
    hosts = (host,) if family is None else _own_addresses(family)
    return tuple(f"nats://{joined(each, port)}" for each in hosts)


def _own_addresses(family: socket.AddressFamily) -> tuple[str, ...]:
    """The address that a message beyond this host would leave from, then those of its name."""
    found: dict[str, None] = {}
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((_BEYOND[family], 9))  # chooses a route; a datagram socket sends nothing for it
            found[asked.getsockname()[0]] = None
        except OSError:
            pass  # no route beyond this host
    try:
        rows = socket.getaddrinfo(socket.gethostname(), None, family, socket.SOCK_DGRAM)
    except OSError:
        rows = []
    for row in rows:
        found[str(row[4][0])] = None
    beyond = [address for address in found if not is_loopback(address)]
    return tuple(beyond) or ("127.0.0.1" if family is socket.AF_INET else "::1",)
