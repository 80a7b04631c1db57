"""Names of things: node, mesh and task ids, partitions, capabilities, and rank by rendezvous hash.

Invariant: an id is a function of what it names, so two nodes mint the same one without talking.
Neighbours: `subjects` puts ids into NATS subjects; `identity` owns the keys that node ids hash.
"""

import re
from base64 import b32encode
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b, sha256
from itertools import islice

from protocol.primitives import NodeId, Rng

PARTITIONS = 64  # a guardian lists one in 20 ms at 10,000 keys; 64 spread evenly over a few hundred nodes
TASK_CHARS = 26  # of a task id: 16 bytes in base32
SHORT_CHARS = 8  # 40 bits: shown to people, never compared
PREFIX_CHARS_MIN = 4  # of an id that is asked for: fewer would fit too many to be of use

TOKEN = re.compile(r"[a-z0-9_-]{1,32}")
TASK = re.compile(rf"[a-z2-7]{{{TASK_CHARS}}}")
CAPABILITY = re.compile(r"[a-z][a-z0-9_.-]{0,63}@(0|[1-9][0-9]{0,3})")
AGENT_NAME = re.compile(r"[a-z][a-z0-9_-]{0,47}")
TOPIC = re.compile(rf"{TOKEN.pattern}\.{TOKEN.pattern}")


def _base32(digest: bytes) -> str:
    return b32encode(digest).decode("ascii").rstrip("=").lower()


@lru_cache(maxsize=8_192)
def node_id(public_key: bytes) -> NodeId:
    """The id of the holder of an Ed25519 public key (32 bytes): 32 characters of base32."""
    return _base32(sha256(b"meshd/node-id/v1" + public_key).digest()[:20])


def mesh_id(root_key: bytes) -> str:
    """The id of the mesh whose root is this Ed25519 public key: 12 characters, a subject token."""
    return _base32(sha256(b"meshd/mesh-id/v1" + root_key).digest())[:12]


def fingerprint(root_key: bytes) -> str:
    """What a person compares before joining: the whole hash of the mesh's root key, 52 characters."""
    return _base32(sha256(b"meshd/mesh-id/v1" + root_key).digest())


def task_id(*, mesh: str, submitter: str, key: str) -> str:
    """The id of a submitted task: the same submit through two nodes is one task."""
    parts = "\0".join(("meshd/task/v1", mesh, submitter, key))
    return _base32(blake2b(parts.encode(), digest_size=16).digest())


def partition(task: str) -> int:
    """Which of the 64 partitions a task belongs to; guardians watch partitions, not tasks."""
    return blake2b(task.encode(), digest_size=2).digest()[0] % PARTITIONS


def is_task(text: str) -> bool:
    """True for what may be the id of a task, and not of a call."""
    return TASK.fullmatch(text) is not None


def task_key(task: str) -> str:
    """The key of a task's record in the bucket, `p<partition>.<id>`."""
    return f"p{partition(task):02d}.{task}"


def task_of(key: str) -> str:
    """The task whose record, or late result, stands under a key."""
    return key.split(".")[1]


def late_key(task: str, epoch: int) -> str:
    """The key under which a result is kept that came too late to be committed."""
    return f"{task_key(task)}.late{epoch}"


def is_task_key(key: str) -> bool:
    """True for the key of a task's record itself."""
    return key.startswith("p") and key.count(".") == 1


def presence_key(node: NodeId) -> str:
    """The key that a node keeps writing, to know whether it can."""
    return f"node.{node}"


def is_presence_key(key: str) -> bool:
    """True for a key that a node writes only to know whether it can."""
    return key.startswith("node.")


def minted(rng: Rng) -> str:
    """A fresh interaction, goal or idempotency id: 26 characters, 128 bits of chance."""
    return _base32(rng.getrandbits(128).to_bytes(16, "big"))


def short(full: str) -> str:
    """The first eight characters of an id, for people."""
    return full[:SHORT_CHARS]


def distinct(name: str, node: NodeId) -> str:
    """How one of several nodes of the same name is called; no name of a node holds a `#`."""
    return f"{name}#{short(node)}"


def bare(called: str) -> str:
    """The name that a node gave itself, from what `distinct` made of it or did not."""
    return called.partition("#")[0]


def is_token(text: str) -> bool:
    """True for what may stand as one token of a subject: `[a-z0-9_-]{1,32}`."""
    return TOKEN.fullmatch(text) is not None


def is_capability(text: str) -> bool:
    """True for `name@major`."""
    return CAPABILITY.fullmatch(text) is not None


def is_topic(text: str) -> bool:
    """True for `domain.name`, two tokens."""
    return TOPIC.fullmatch(text) is not None


def is_ranked(node: NodeId, candidates: Iterable[NodeId], *, salt: str, within: int) -> bool:
    """True when fewer than `within` of the others stand before this node by `rendezvous`: seldom looks at all."""
    own = rendezvous(node, salt=salt)
    better = (1 for each in candidates if each != node and rendezvous(each, salt=salt) < own)
    return sum(islice(better, within)) < within


def rendezvous(node: NodeId, *, salt: str) -> tuple[bytes, NodeId]:
    """A node's place among candidates, the least first (Thaler and Ravishankar 1998).

    Every node computes the same order of the same candidates, and one candidate's coming or going moves nobody else.
    """
    return blake2b(f"{salt}\0{node}".encode(), digest_size=8).digest(), node
