"""Words for people. Text of others is made fit to be shown: nothing in it moves the cursor or turns the line around."""

import codecs
import re

# C0, C1 and delete; bidirectional marks, embeddings, overrides and isolates; line and paragraph separators.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_ESCAPED = codecs.getencoder("unicode_escape")  # found now: it is read from a file, and later there may be none to open
SHOWN_CHARS_MAX = 2_000  # one line of a log; what is longer is cut off and says so


def shown(text: str) -> str:
    """`text` on one line, control and bidirectional characters escaped, cut off at `SHOWN_CHARS_MAX`."""
    if len(text) > SHOWN_CHARS_MAX:
        text = f"{text[:SHOWN_CHARS_MAX]}… ({len(text)} characters)"
    return _UNFIT.sub(lambda found: _ESCAPED(found[0], "surrogatepass")[0].decode(), text)


def missed(evidence: str, silent_s: float) -> str:
    """How an owner that kept no lease was missed, by the evidence."""
    match evidence:
        case "node_restarted":
            return "has restarted"
        case "absent":
            return "is absent, says the broker"
        case _:
            return f"is silent for {silent_s:.1f} s"
