"""Which licence a text is, told by phrases that no other licence has, and whether it is the declared one.

Invariant: an unknown text gives nothing, never a guess. Identifiers are those of SPDX.
Neighbours: `pieces` finds the texts, `package_audit` reports.
"""

import re
from collections.abc import Iterable

_SPACES = re.compile(r"[\s*#>]+")

# Each row: identifier, phrases that must all stand in the text, phrases that must not.
_PHRASES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "0BSD",
        ("distribute this software for any purpose with or without fee is hereby granted",),
        ("hereby granted, provided",),
    ),
    ("Apache-2.0", ("apache license", "version 2.0", "www.apache.org/licenses"), ()),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms",), ("endorse or promote products",)),
    (
        "BSD-3-Clause",
        ("redistribution and use in source and binary forms", "endorse or promote products"),
        ("all advertising materials",),
    ),
    ("BSD-4-Clause", ("redistribution and use in source and binary forms", "all advertising materials"), ()),
    ("BSL-1.0", ("boost software license - version 1.0",), ()),
    ("CC0-1.0", ("cc0 1.0 universal",), ()),
    ("ISC", ("distribute this software for any purpose with or without fee is hereby granted, provided",), ()),
    (
        "MIT",
        (
            "permission is hereby granted, free of charge, to any person obtaining",
            "permission notice shall be included",
        ),
        (),
    ),
    (
        "MIT-0",
        ("permission is hereby granted, free of charge, to any person obtaining",),
        ("permission notice shall be included",),
    ),
    ("MPL-2.0", ("mozilla public license", "2.0", "covered software"), ()),
    ("PSF-2.0", ("python software foundation license version 2",), ()),
    ("Unlicense", ("free and unencumbered software released into the public domain",), ()),
    ("Zlib", ("altered source versions must be plainly marked",), ()),
)
# The GNU texts name each other in passing, so only their headings count.
_GNU_HEADING_CHARS = 400
_GNU = re.compile(r"gnu (affero |lesser |library )?general public license,? version (\d(?:\.\d)?)")
_GNU_NAMES = {"": "GPL", "affero ": "AGPL", "lesser ": "LGPL", "library ": "LGPL"}

_FAMILIES: tuple[tuple[str, str], ...] = (
    ("AGPL", r"\bagpl|affero"),
    ("Apache", r"\bapache"),
    ("BSD", r"\b(0bsd|bsd)"),
    ("BSL", r"\bbsl\b|boost"),
    ("CC0", r"\bcc0"),
    ("GPL", r"\bgpl|gnu general public"),
    ("ISC", r"\bisc\b|\biscl\b"),
    ("LGPL", r"\blgpl|lesser general|library general"),
    ("MIT", r"\bmit\b|\bmit-0\b|expat"),
    ("MPL", r"\bmpl|mozilla"),
    ("PSF", r"\bpsf|python software foundation|python-2\.0"),
    ("Unlicense", r"unlicense"),
    ("Zlib", r"\bzlib"),
)


def recognise(text: str) -> tuple[str, ...]:
    """Identifiers of all licences whose wording stands in `text`, sorted; empty when it is none we know."""
    plain = _SPACES.sub(" ", text).lower()
    found = {
        name
        for name, phrases, absent in _PHRASES
        if all(phrase in plain for phrase in phrases) and not any(phrase in plain for phrase in absent)
    }
    heading = _GNU.search(plain[:_GNU_HEADING_CHARS])
    if heading:
        version = heading[2] if "." in heading[2] else f"{heading[2]}.0"
        found.add(f"{_GNU_NAMES[heading[1] or '']}-{version}")
    return tuple(sorted(found))


def families(words: Iterable[str]) -> frozenset[str]:
    """The families of licences that `words` name: identifiers, expressions, classifiers or free text."""
    text = " ".join(words).lower()
    return frozenset(name for name, pattern in _FAMILIES if re.search(pattern, text))


def verdict(declared: str, recognised: Iterable[str]) -> str:
    """agrees, differs, undeclared (a text but no word), or unconfirmed (a word but no text that we know)."""
    said, read = families([declared]), families(recognised)
    if not read:
        return "unconfirmed" if declared else "undeclared"
    if not declared:
        return "undeclared"
    return "agrees" if said & read else "differs"
