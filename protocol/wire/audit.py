"""Family `audit`: a node's records on their way into the stream `<mesh>-audit`.

Invariant: the lines are the very bytes of the journal. `text` begins and ends with a line end, so that
whoever looks at raw messages sees one record a line.
"""

from typing import Annotated

from msgspec import Meta, Struct

from protocol import limits
from protocol.wire.bounds import Count


class AuditBatch(Struct, frozen=True, array_like=True, tag="audit"):
    """Some records of the frame's source, in order and without a gap; `first` is the number of the first."""

    first: Count
    text: Annotated[str, Meta(max_length=limits.AUDIT_BATCH_BYTES_MAX + 2)]

    @property
    def lines(self) -> list[str]:
        """The records, one each."""
        return self.text.strip("\n").split("\n")
