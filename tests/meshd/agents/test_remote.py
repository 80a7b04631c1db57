"""What agents behind a URL have in common: which URLs, and which files of secrets."""

import os
import shlex
from pathlib import Path

import pytest

from meshd.agents.remote import FILE_BYTES_MAX, headers, url_problem


@pytest.mark.parametrize(
    "url", ["http://host", "https://host:8443/a/b?c=d", "http://[::1]:80/", "HTTP://127.0.0.1:1/x", "http://a_b/"]
)
def test_these_urls_can_be_used(url: str) -> None:
    assert url_problem(url) == ""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ftp://host/", "must be http://HOST... or https://HOST..., not 'ftp://host/'"),
        ("file:///etc/passwd", "must be http://HOST..."),
        ("host:80", "must be http://HOST..."),
        ("http://", "must be http://HOST..."),
        ("http://host:0/", "must be http://HOST..."),
        ("http://a..b/", "must name a host by parts of 1 to 63 characters, not 'a..b'"),
        (f"https://{'a' * 64}.example/", "must name a host by parts of 1 to 63 characters"),
        ("http://host:99999/", "must be a URL, not"),
        ("http://[::1/", "must be a URL, not"),
        ("http://user:pass@host/", "must hold no user and password: put them into a file"),
        ("http://host/#x", "must have no fragment: #x"),
        ("http://host/\r\nX: y", "must be a URL of up to 2048 plain characters, not 'http://host/\\r\\nX: y'"),
        ("http://hö/", "must be a URL of up to 2048 plain characters"),
        ("http://host/" + "x" * 2_048, "must be a URL of up to 2048 plain characters"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_url_that_cannot_be_used_is_named_with_the_rule(url: str, expected: str) -> None:
    assert url_problem(url).startswith(expected)


def test_a_password_in_a_url_is_not_repeated() -> None:
    assert "s3cret" not in url_problem("http://user:s3cret@host/")


def secret(folder: Path, content: bytes, mode: int = 0o600) -> str:
    (folder / "secret").write_bytes(content)
    (folder / "secret").chmod(mode)
    return "secret"


def test_a_token_and_headers_are_read_relative_to_the_manifest(tmp_path: Path) -> None:
    assert headers(tmp_path, secret(tmp_path, b"abc\n"), "") == {"Authorization": "Bearer abc"}
    assert headers(tmp_path, "", secret(tmp_path, b"X-Key: a b\n\nX-Empty:\n")) == {"X-Key": "a b", "X-Empty": ""}
    assert headers(tmp_path, "", "") == {}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"two words", "is not one word"),
        (b"", "is not one word"),
        (b"a\r\nX: y", "is not one word"),
        ("schlüssel".encode(), "is not one word"),
        (b"\xff", "is not UTF-8 at line 1"),
        (b"x" * (FILE_BYTES_MAX + 1), f"is larger than {FILE_BYTES_MAX} bytes"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_token_that_is_none_is_refused_without_being_shown(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(ValueError, match="token_file") as caught:
        headers(tmp_path, secret(tmp_path, content), "")
    assert str(caught.value) == f"token_file: {tmp_path}/secret {expected}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"X-A: 1\nno colon here", "line 2 of {} is not NAME: VALUE"),
        (b"X A: 1", "line 1 of {} is not NAME: VALUE"),
        (b"X-A: \x1b[31m", "line 1 of {} is not NAME: VALUE"),
        (b"content-LENGTH: 3", "line 1 of {} sets content-LENGTH, which is not for an agent to set"),
        (b"Host: elsewhere", "line 1 of {} sets Host, which is not for an agent to set"),
    ],
    ids=ascii,
)
def test_a_header_that_is_none_is_named_by_its_line(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(ValueError, match="headers_file") as caught:
        headers(tmp_path, "", secret(tmp_path, content))
    assert str(caught.value) == "headers_file: " + expected.format(tmp_path / "secret")


def test_a_file_that_others_may_read_is_refused_with_a_command_that_holds_for_any_path(tmp_path: Path) -> None:
    (folder := tmp_path / "my agents").mkdir()
    with pytest.raises(ValueError, match="others may read ") as caught:
        headers(folder, secret(folder, b"abc", 0o644), "")
    _, _, cure = str(caught.value).partition("; try: ")
    assert shlex.split(cure) == ["chmod", "600", str(folder / "secret")]


def test_a_pipe_or_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(ValueError, match="is no regular file"):
            headers(tmp_path, name, "")
