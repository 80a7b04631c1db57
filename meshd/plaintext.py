"""Text out of files that people wrote, whatever they wrote it with.

Invariant: text is UTF-8, and the mark that some editors put before it is no part of it. Neighbours: settings,
manifests, credentials, input and invitations are read by this.
"""

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE


def text_of(content: bytes) -> str:
    """The text in `content`. Raises ValueError with a clause on what is wrong with it."""
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):  # so does PowerShell's `>`
        raise ValueError("is UTF-16: save it as UTF-8")
    try:
        return content.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as failure:
        line = content.count(b"\n", 0, failure.start) + 1
        raise ValueError(f"is not UTF-8 at line {line}") from None
