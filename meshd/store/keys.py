"""What a store takes: keys of plain tokens, values of at most one frame.

Invariant: a key that passes here is a literal NATS subject tail; no wildcard, blank or empty token
reaches the server. Neighbours: `memory` and `jetstream` check every call here.
"""

from protocol.errors import MeshError
from protocol.ids import is_token
from protocol.limits import FRAME_BYTES_MAX

TOKENS_MAX = 4  # p<partition>.<id> has two


def check_key(key: str) -> None:
    """Raises MeshError("bad_input") unless `key` is one to four tokens joined by dots."""
    tokens = key.split(".", TOKENS_MAX)
    if len(tokens) > TOKENS_MAX or not all(is_token(token) for token in tokens):
        raise MeshError("bad_input", what=f"{key[:64]!a} is no key of the store")


def check_prefix(prefix: str) -> None:
    """Raises MeshError("bad_input") unless `prefix` is empty or could be a key that others stand under."""
    if prefix:
        check_key(prefix)


def check_value(key: str, value: bytes) -> None:
    """Raises MeshError("too_large") when `value` is over one frame."""
    if len(value) > FRAME_BYTES_MAX:
        raise MeshError("too_large", what=f"the record {key}", bytes=len(value), limit=FRAME_BYTES_MAX)
