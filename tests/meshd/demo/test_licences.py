"""Texts of licences, and whether they are the declared ones."""

import pytest

from meshd.demo.licences import families, recognise, verdict

GRANT = "Permission is hereby granted, free of charge, to any person obtaining a copy"
NOTICE = "The above copyright notice and this permission notice shall be included"
BSD = "Redistribution and use in source and binary forms, with or without modification"
ISC = "Permission to distribute this software for any purpose with or without fee is hereby granted"


@pytest.mark.parametrize(
    ("text", "licences"),
    [
        (f"{GRANT}. {NOTICE}", ("MIT",)),
        (GRANT, ("MIT-0",)),
        (BSD, ("BSD-2-Clause",)),
        (f"{BSD}. Neither the name may be used to endorse or promote products", ("BSD-3-Clause",)),
        (f"{BSD}. All advertising materials mentioning; endorse or promote products", ("BSD-4-Clause",)),
        (f"{ISC}, provided that the above", ("ISC",)),
        (f"{ISC}.", ("0BSD",)),
        ("Apache License Version 2.0, January 2004 http://www.apache.org/licenses/", ("Apache-2.0",)),
        ("Mozilla Public License Version 2.0. 1.4. Covered Software", ("MPL-2.0",)),
        (
            "GNU GENERAL PUBLIC LICENSE Version 3, 29 June 2007" + " " * 9 + "the GNU Lesser General Public License",
            ("GPL-3.0",),
        ),
        ("GNU LESSER GENERAL PUBLIC LICENSE Version 2.1, February 1999", ("LGPL-2.1",)),
        ("GNU AFFERO GENERAL PUBLIC LICENSE Version 3", ("AGPL-3.0",)),
        ("All rights reserved.", ()),
        ("", ()),
    ],
)
def test_a_licence_is_known_by_its_phrases(text: str, licences: tuple[str, ...]) -> None:
    assert recognise(text) == licences


def test_line_breaks_comment_signs_and_capitals_do_not_hide_a_licence() -> None:
    assert recognise(f"# {GRANT.upper()}".replace(" ", "\n#   ") + NOTICE) == ("MIT",)


def test_a_gnu_licence_that_is_only_mentioned_does_not_count() -> None:
    assert recognise("x " * 400 + "GNU General Public License, Version 2.0") == ()


def test_a_text_may_hold_several_licences() -> None:
    assert recognise(f"{GRANT} {NOTICE} {BSD}") == ("BSD-2-Clause", "MIT")


@pytest.mark.parametrize(
    ("declared", "recognised", "says"),
    [
        ("MIT License", ["MIT"], "agrees"),
        ("Apache 2.0", ["Apache-2.0"], "agrees"),
        ("Apache-2.0 OR BSD-2-Clause", ["BSD-2-Clause"], "agrees"),
        ("MIT", ["BSD-3-Clause"], "differs"),
        ("", ["MIT"], "undeclared"),
        ("", [], "undeclared"),
        ("MIT", [], "unconfirmed"),
        ("LGPL-2.1", ["GPL-3.0"], "differs"),
    ],
)
def test_the_verdict_compares_families(declared: str, recognised: list[str], says: str) -> None:
    assert verdict(declared, recognised) == says


def test_a_word_that_only_contains_a_licence_is_none() -> None:
    assert families(["permitted", "discretion"]) == frozenset()
