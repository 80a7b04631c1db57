"""HOST:PORT as people write it, and servers' URLs: read in one way, whoever was given them.

Invariant: an IPv6 host stands in brackets where a port follows, and bare everywhere else.
Neighbours: `settings` declares addresses; the API, the broker and both connections to it use them.
"""

import ipaddress
import re
from contextlib import suppress
from urllib.parse import urlsplit

from protocol.errors import MeshError

PORT = "([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HOST = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
NATS_PORT = 4222

_HOST_PORT = re.compile(rf"{HOST}:{PORT}")


def host_port(listen: str, *, key: str, origin: str) -> tuple[str, int]:
    """What `listen` says, the host without brackets. Raises MeshError("config") about the setting `key`."""
    found = _HOST_PORT.fullmatch(listen)
    if found is None:
        raise MeshError("config", key=key, problem=f"{listen!a} is not HOST:PORT", origin=origin)
    return found[1].strip("[]"), int(found[2])


def host_of(address: str) -> str:
    """The host of a HOST:PORT, or of a URL that ends in one, which was checked before."""
    return address.rpartition("://")[2].rpartition(":")[0].strip("[]")


def joined(host: str, port: int) -> str:
    """`host:port`, or `[host]:port`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def server_of(url: str) -> str:
    """HOST:PORT of a NATS server's URL, without its credentials. Raises ValueError when it is none."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("nats", "tls") and parts.hostname:
            return joined(parts.hostname, parts.port or NATS_PORT)
    raise ValueError(f"has an address that is none: {url!a}")


def is_loopback(host: str) -> bool:
    """True when nobody beyond this host can reach an address on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
