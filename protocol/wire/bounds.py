"""Fields of bodies with the bounds that every reader checks: bytes that break one are `bad_body`.

Invariant: what is decoded can be counted with, echoed and sealed again without a look at its size.
Neighbours: the families; `limits` gives the numbers their reasons.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta

from protocol import limits
from protocol.ids import CAPABILITY, TOKEN

NAME_CHARS_MAX = 64  # a call's name as agents see it, the longest of all ids

Token: TypeAlias = Annotated[str, Meta(pattern=rf"^{TOKEN.pattern}\Z")]  # ids of nodes and tasks
NobodyOr: TypeAlias = Annotated[str, Meta(pattern=rf"^({TOKEN.pattern})?\Z")]  # a node, or ""
Name: TypeAlias = Annotated[str, Meta(pattern=rf"^[a-z0-9_-]{{1,{NAME_CHARS_MAX}}}\Z")]
Ability: TypeAlias = Annotated[str, Meta(pattern=rf"^{CAPABILITY.pattern}\Z")]
Text: TypeAlias = Annotated[str, Meta(max_length=limits.TEXT_CHARS_MAX)]
Word: TypeAlias = Annotated[str, Meta(pattern=rf"^[a-z0-9_]{{0,{limits.REASON_CHARS_MAX}}}\Z")]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 53)]  # any reader's integer holds it
Moment: TypeAlias = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]  # ms by the wall, before the year 10,000
Input: TypeAlias = Annotated[bytes, Meta(max_length=limits.INPUT_BYTES_MAX)]
Output: TypeAlias = Annotated[bytes, Meta(max_length=limits.OUTPUT_BYTES_MAX)]
Ancestors: TypeAlias = Annotated[tuple[Name, ...], Meta(max_length=4 * limits.HOPS_MAX)]
Hops: TypeAlias = Annotated[int, Meta(ge=0, le=limits.HOPS_MAX)]
