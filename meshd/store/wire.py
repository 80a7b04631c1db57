"""What JetStream is asked and answers, as far as the store needs it: plain JSON bodies.

Invariant: unknown fields are skipped, missing ones have a default; a body that is no JSON is the
caller's to catch. Neighbours: `jetstream` sends and reads these.
"""

from msgspec import Struct

WRONG_SEQUENCE = frozenset({10071, 10164})  # the expected revision does not stand there; 10164: or may not much longer
STREAM_DIFFERS = 10058  # the stream exists with another configuration
NO_MESSAGE = 10037
NO_STREAM = 10059
FULL = "maximum bytes exceeded"  # its code is that of every store that failed
UNAVAILABLE_CODE = 500  # from here on the fault is the server's and may pass

DEDUPLICATED_S = 120  # a repeat within this finds its first try, even when the key has removed itself since
SECOND_NS = 1_000_000_000


class Fault(Struct, frozen=True):
    """Why JetStream refused."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Stored(Struct, frozen=True):
    """One message of the stream: its sequence (the revision), value and raw header lines."""

    seq: int
    data: bytes = b""
    hdrs: bytes = b""
    subject: str = ""

    @property
    def is_marker(self) -> bool:
        """True for the trace of a removal that other clients leave; for us the key is not there."""
        return b"\r\nKV-Operation:" in self.hdrs or b"\r\nNats-Marker-Reason:" in self.hdrs


class Replica(Struct, frozen=True):
    """One follower of the stream."""

    name: str
    current: bool = False
    offline: bool = False


class Cluster(Struct, frozen=True):
    """Where the stream lives."""

    leader: str = ""
    replicas: tuple[Replica, ...] = ()


class State(Struct, frozen=True):
    """How full the stream is."""

    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0


class Answer(Struct, frozen=True):
    """Any answer: `error` or the fields of what was asked."""

    error: Fault | None = None
    seq: int = 0
    message: Stored | None = None
    num_pending: int = 0
    created: str = ""
    config: dict[str, object] = {}
    cluster: Cluster | None = None
    state: State = State()


def stream_config(bucket: str, *, replicas: int, bytes_max: int, value_bytes_max: int) -> dict[str, object]:
    """The stream under a bucket. Readable by any client that knows key-value buckets."""
    return {
        "name": f"KV_{bucket}",
        "subjects": [f"$KV.{bucket}.>"],
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,  # the record carries its own history
        "max_bytes": bytes_max,
        "max_msg_size": value_bytes_max,
        "discard": "new",  # a full bucket refuses; it never forgets
        "duplicate_window": DEDUPLICATED_S * SECOND_NS,
        "allow_msg_ttl": True,
        "allow_direct": False,  # only the leader answers reads: followers may be behind
        "allow_rollup_hdrs": False,  # nobody wipes the bucket with a header
        "deny_delete": True,
        "deny_purge": True,
    }


# What must hold of a bucket that somebody else made; sizes and replicas are theirs to choose.
ESSENTIAL = ("subjects", "retention", "storage", "discard", "allow_msg_ttl", "allow_direct")


def differing(wanted: dict[str, object], found: dict[str, object], *, among: tuple[str, ...] = ESSENTIAL) -> str:
    """The first essential setting that differs, as a phrase; nothing when all agree."""
    for name in among:
        if found.get(name, False) != wanted[name]:
            return f"{name} is {found.get(name)!r}, not {wanted[name]!r}"
    return ""


def number(config: dict[str, object], name: str) -> int:
    """A number of a stream's configuration; 0 when there is none."""
    found = config.get(name)
    return found if isinstance(found, int) else 0


def consumer_config(name: str, *, subjects: str, idle_s: int, after: int = 0) -> dict[str, object]:
    """A reader of the last message of every matching subject, or of those after one, that goes away by itself."""
    start: dict[str, object] = {"deliver_policy": "last_per_subject"}
    if after:
        start = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
    return {
        **start,
        "name": name,
        "filter_subject": subjects,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": idle_s * SECOND_NS,
    }
