"""An audit that the test makes up, behind the API and in little daemons."""

from collections.abc import Mapping

from msgspec import structs

from meshd.api.audit_schemas import AuditHead, AuditPage, AuditQuery, AuditRecord
from protocol.audit import Detail
from protocol.errors import MeshError

RECORD = AuditRecord(
    node="a" * 32,
    node_name="a",
    seq=7,
    time_ms=1_800_000_000_000,
    life=1_700_000_000_000,
    who="operator",
    action="task.submit",
    resource="task/" + "t" * 26,
    decision="allow",
    iid="i" * 26,
    gid="g" * 26,
    parent="",
    more={"capability": "scoring@2"},
    prev="0" * 64,
    hash="1" * 64,
)


class FakeAudits:
    """Answers with `records`; `problem` says why nothing can be recorded."""

    def __init__(self) -> None:
        self.records: tuple[AuditRecord, ...] = (RECORD,)
        self.problem = ""
        self.asked: list[AuditQuery] = []
        self.refusals: list[tuple[str, str, str, str]] = []
        self.damage = ""
        self.left_out = 0  # frames of the stream
        self.restarts: list[tuple[str, str]] = []
        self.about: list[tuple[str, dict[str, Detail]]] = []
        self.requests: list[tuple[str, str, str]] = []

    def check(self) -> None:
        if self.problem:
            raise MeshError("unaudited", problem=self.problem)

    def refused(self, action: str, resource: str, *, who: str, code: str, iid: str, gid: str) -> None:
        assert iid
        self.refusals.append((action, resource, who, code))

    def requested(
        self, request: str, *, who: str, resource: str, iid: str, words: Mapping[str, Detail], code: str
    ) -> None:
        assert iid
        self.requests.append((request, who, code))
        self.about.append((resource, dict(words)))

    def head(self) -> AuditHead:
        return AuditHead("a" * 32, "a", 7, "1" * 64, 7, 7, "/nowhere/audit", self.problem, damage=self.damage)

    async def restart(self, reason: str, *, who: str) -> AuditHead:
        if not self.damage:
            raise MeshError("audit_sound", seq=7)
        self.damage = ""
        self.restarts.append((reason, who))
        return structs.replace(self.head(), chain=4, aside="/var/audit-1")

    async def page(self, query: AuditQuery) -> AuditPage:
        self.asked.append(query)
        found = () if query.cursor else self.records
        return AuditPage(found, "1.1", True, "journal" if query.here else "stream", self.left_out)
