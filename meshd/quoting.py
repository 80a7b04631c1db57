"""What an error repeats of a value that is wrong: enough to find it, and nothing that a terminal takes for a command.

Invariant: one short line whose strange characters are escaped, whatever the value is. Neighbours: `config`
and `agents.manifest` refuse values of files that people wrote.
"""

QUOTED_CHARS_MAX = 60


def quoted(value: object) -> str:
    """The value as Python writes it, cut off at `QUOTED_CHARS_MAX`."""
    try:
        text = ascii(value)
    except ValueError:  # CPython refuses to print an integer of more than 4,300 digits
        return "that number"
    return text if len(text) <= QUOTED_CHARS_MAX else text[:QUOTED_CHARS_MAX] + "…"


def quoted_key(key: str) -> str:
    """A key as it stands, when that is fit to be shown."""
    is_fit = key.isascii() and key.isprintable() and len(key) <= QUOTED_CHARS_MAX
    return key if is_fit else quoted(key)
