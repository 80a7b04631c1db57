"""What the API answers and takes about the audit.

Invariant: as in `schemas`: field names are promised to scripts. Neighbours: `routes`, and `meshd.auditing` behind it.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol import limits
from protocol.audit import Detail

PAGE_MAX = 1_000
PAGE_DEFAULT = 100

Word = Annotated[str, Meta(max_length=limits.AUDIT_TEXT_CHARS_MAX)]


class AuditRecord(Struct, frozen=True):
    """One record, as its node wrote it, with the name of that node. `who` is on whose behalf, empty for the node."""

    node: str
    node_name: str
    seq: int
    time_ms: int
    life: int
    who: str
    action: str
    resource: str
    decision: str
    iid: str
    gid: str
    parent: str
    more: dict[str, Detail]
    prev: str
    hash: str


class AuditPage(Struct, frozen=True):
    """Records in the order of their source; `cursor` goes on after them, whether or not there is more now.

    `source` is the stream of the whole mesh, or the journal of the node that answers. `refused` frames of the stream
    were no node's word, and are left out.
    """

    records: tuple[AuditRecord, ...]
    cursor: str
    is_end: bool
    source: Literal["stream", "journal"]
    refused: int = 0


class AuditHead(Struct, frozen=True):
    """How far this node's audit is: its last record, the last that is on disk, the last that the stream has.

    `damage`: why its chain is not what was written, at record `damage_seq`; `checked`: the last record that was looked
    at and found sound; `stuck_s`: for how long the stream has taken none of what waits; `is_stuck`: so long that
    somebody should see to it; `aside`: where the chain lies that a restart has just set aside.
    """

    node: str
    name: str
    seq: int
    hash: str
    durable: int
    shipped: int
    folder: str
    problem: str = ""
    shipping_problem: str = ""
    is_forked: bool = False
    chain: int = 1
    damage: str = ""
    damage_seq: int = 0
    checked: int = 0
    stuck_s: float = 0.0
    aside: str = ""
    is_stuck: bool = False


class RestartRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a damaged chain is set aside: it stands in the first record of the next."""

    reason: Annotated[str, Meta(min_length=1, max_length=limits.AUDIT_TEXT_CHARS_MAX)]


class AuditQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A page of records. Every filter that is given must fit.

    `who`: on whose behalf; `what`: an action or its first word; `id`: the beginning of an IID, GID, parent or task;
    `node`: by name or id; `here`: the journal of this node; `newest`: begin near the end.
    """

    who: Word = ""
    what: Word = ""
    resource: Word = ""
    decision: Literal["", "allow", "deny", "done"] = ""
    id: Word = ""
    node: Word = ""
    since_ms: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    cursor: Annotated[str, Meta(pattern=r"^([0-9]{1,16}\.[0-9]{1,6})?\Z")] = ""
    here: bool = False
    newest: bool = False
