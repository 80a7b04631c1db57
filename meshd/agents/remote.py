"""What agents that are reached by URL have in common: which URLs, and the headers that only files hold.

Invariant: a secret stands in a file of mode 0600 and nowhere else: not in a manifest, a URL, an argument or a log.
Neighbours: `manifest` checks the URL, `http` and `bridge` send the headers.
"""

import re
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit

from meshd.plaintext import content_of, text_of
from meshd.quoting import quoted, quoted_key

FILE_BYTES_MAX = 16_384  # a token, or a page of headers
URL_CHARS_MAX = 2_048

_TOKEN = re.compile(r"[!-~]+")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[ -~]*")
# Each would change what the request is, not who asks.
_OURS = re.compile(
    "accept|accept-encoding|connection|content-encoding|content-length|content-type|expect|host|te|trailer|"
    "transfer-encoding|upgrade",
    re.IGNORECASE,
)


def url_problem(url: str) -> str:
    """What is wrong with the URL of a service, as the end of a sentence; nothing when it can be used."""
    if len(url) > URL_CHARS_MAX or not _TOKEN.fullmatch(url):
        return f"must be a URL of up to {URL_CHARS_MAX} plain characters, not {quoted(url)}"
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return f"must be a URL, not {quoted(url)}"
    if parts.scheme not in ("http", "https") or not is_whole:
        return f"must be http://HOST... or https://HOST..., not {quoted(url)}"
    try:
        (parts.hostname or "").encode("idna")  # what a connection makes of it
    except UnicodeError:
        return f"must name a host by parts of 1 to 63 characters, not {quoted(parts.hostname or '')}"
    if "@" in parts.netloc:
        return "must hold no user and password: put them into a file, and name it under headers_file"
    if parts.fragment:
        return f"must have no fragment: #{parts.fragment[:40]}"
    return ""


def headers(folder: Path, token_file: str, headers_file: str) -> dict[str, str]:
    """The headers to send, read now. Raises ValueError: which file, and what is wrong with it, never what it holds."""
    found: dict[str, str] = {}
    if headers_file:
        for number, line in enumerate(_text(folder / headers_file, "headers_file").splitlines(), 1):
            if not line.strip():
                continue
            name, colon, value = line.partition(":")
            at = f"headers_file: line {number} of {folder / headers_file}"
            if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value.strip()):
                raise ValueError(f"{at} is not NAME: VALUE")
            if _OURS.fullmatch(name):
                raise ValueError(f"{at} sets {quoted_key(name)}, which is not for an agent to set")
            found[name] = value.strip()
    if token_file:
        token = _text(folder / token_file, "token_file").strip()
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"token_file: {folder / token_file} is not one word")
        found["Authorization"] = f"Bearer {token}"
    return found


def _text(path: Path, key: str) -> str:
    if path.exists() and not path.is_file():  # the writer of a pipe may be silent
        raise ValueError(f"{key}: {path} is no regular file")
    try:
        if path.stat().st_mode & 0o077:
            raise ValueError(f"{key}: others may read {path}; try: chmod 600 {quote(str(path))}")
        content = content_of(path, FILE_BYTES_MAX + 1)
    except OSError as failure:
        raise ValueError(f"{key}: {path} cannot be read: {failure.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"{key}: {path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        return text_of(content)
    except ValueError as failure:
        raise ValueError(f"{key}: {path} {failure}") from None
