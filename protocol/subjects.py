"""The NATS subjects of one mesh, made and taken apart in one place.

Invariant: the token `src` of a subject is the only node that may publish there; the envelope's
signer must equal it. Neighbours: `envelope` binds a frame to the subject it was signed for.
"""

from msgspec import Struct

from protocol.primitives import NodeId


class Subjects(Struct, frozen=True):
    """Every subject of the mesh with id `mesh` (design: a mesh is one prefix, each class one wildcard)."""

    mesh: str

    def fact(self, *, region: str, src: NodeId) -> str:
        """Gossip of one node to its region."""
        return f"mesh.{self.mesh}.fact.{region}.{src}"

    def facts(self) -> str:
        """Subscription: all gossip of the mesh."""
        return f"mesh.{self.mesh}.fact.*.*"

    def facts_of(self, region: str) -> str:
        """Subscription: the gossip of one region."""
        return f"mesh.{self.mesh}.fact.{region}.*"

    def carry(self, *, region: str, src: NodeId) -> str:
        """What a bridge of a region carries into it, of facts of other regions."""
        return f"mesh.{self.mesh}.carry.{region}.{src}"

    def carries(self, region: str) -> str:
        """Subscription: what is carried into one region."""
        return f"mesh.{self.mesh}.carry.{region}.*"

    def node(self, *, dst: NodeId, life: int, src: NodeId) -> str:
        """Point to point, to one life of a node: a message for an earlier life reaches nobody."""
        return f"mesh.{self.mesh}.node.{dst}.{life}.{src}"

    def inbox(self, *, dst: NodeId, life: int) -> str:
        """Subscription: everything sent to this life."""
        return f"mesh.{self.mesh}.node.{dst}.{life}.*"

    def absent(self, *, src: NodeId, probe: int) -> str:
        """Reply subject of a message whose non-delivery the sender wants to hear of."""
        return f"mesh.{self.mesh}.absent.{src}.{probe}"

    def absences(self, *, src: NodeId) -> str:
        """Subscription: the broker's "no responders" to this node's messages."""
        return f"mesh.{self.mesh}.absent.{src}.*"

    def event(self, *, src: NodeId, kind: str) -> str:
        """Domain events of one node, for people and programs."""
        return f"mesh.{self.mesh}.event.{src}.{kind}"

    def events(self) -> str:
        """Subscription: what happens on every node."""
        return f"mesh.{self.mesh}.event.*.*"

    def event_source(self, subject: str) -> NodeId | None:
        """Whose domain event a subject carries; None when it carries something else."""
        tokens = subject.split(".")
        is_event = len(tokens) == 5 and tokens[:3] == ["mesh", self.mesh, "event"]
        return tokens[3] if is_event else None

    def audit(self, *, src: NodeId) -> str:
        """Audit records of one node, in order."""
        return f"mesh.{self.mesh}.audit.{src}"

    def audits(self) -> str:
        """Subscription: the audit of every node; also what the stream `audit_stream` keeps."""
        return f"mesh.{self.mesh}.audit.*"

    @property
    def audit_stream(self) -> str:
        """Name of the stream that keeps the audit of every node."""
        return f"{self.mesh}-audit"

    def topic(self, topic: str) -> str:
        """What agents publish under `domain.name`. No token names its source: the signer alone does."""
        return f"mesh.{self.mesh}.topic.{topic}"

    def topic_of(self, subject: str) -> str:
        """The topic whose events a subject carries, or nothing."""
        return subject.removeprefix(prefix) if subject.startswith(prefix := self.topic("")) else ""

    def record(self, key: str) -> str:
        """The subject under which the store keeps a key of hard state."""
        return f"$KV.{self.bucket}.{key}"

    @property
    def bucket(self) -> str:
        """Name of the key-value bucket that holds the mesh's hard state."""
        return f"{self.mesh}-tasks"


def source(subject: str) -> NodeId:
    """The `src` token of a fact or node subject: always the last."""
    return subject.rpartition(".")[2]


def region_of(subject: str) -> str:
    """The region that a fact was said to; nothing for what is no fact."""
    tokens = subject.split(".")
    return tokens[3] if len(tokens) == 5 and tokens[2] == "fact" else ""


def is_of_topics(subject: str) -> bool:
    """True for what agents publish, on any mesh."""
    return subject.split(".", 3)[2:3] == ["topic"]
