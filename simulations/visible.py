"""Text from elsewhere, made harmless for a terminal or a page.

Invariant: what comes out holds nothing that moves a cursor or turns the order of letters; made visible
twice is made visible once. Neighbours: whoever prints words of a scenario or a trace.
"""

import unicodedata

_ODD = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})  # control, formatting (bidirectional too), no characters at all


def visible(text: str) -> str:
    """The same text, with escapes for what cannot be seen, or turns the order of what can."""
    return text if text.isascii() and text.isprintable() else "".join(_visible(each) for each in text)


def _visible(each: str) -> str:
    if each in "\n\t" or unicodedata.category(each) not in _ODD:
        return each
    return f"\\u{ord(each):04x}" if ord(each) <= 0xFFFF else f"\\U{ord(each):08x}"
