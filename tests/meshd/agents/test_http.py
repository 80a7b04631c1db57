"""The kind `http`: what every answer of a service becomes, and how a service that is away shows."""

import asyncio
import datetime
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meshd.agents.http import HttpAgent
from meshd.ports import Failed, Finished, Outcome
from protocol.errors import MeshError
from tests.contracts.stage import SHORT, TOPIC, Desk, Stage
from tests.waiting import until

Serve: TypeAlias = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Service:
    """A server that answers as it is told, byte by byte, and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.closed = asyncio.Event()
        # Bound and not listening, it refuses connections, and nobody else gets its port.
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._serve: Serve = lambda request, writer: asyncio.sleep(0)

    async def open(self, serve: Serve, tls: ssl.SSLContext | None = None) -> None:
        self._serve = serve
        self._server = await asyncio.start_server(self._heard, sock=self._socket, ssl=tls)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _heard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            request = head + await reader.readexactly(length)
            self.requests.append(request)
            await self._serve(request, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a look: connected, and gone
        finally:
            writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/tasks"


def reply(body: bytes, status: str = "200 OK", *more: str, media: str = "application/json") -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body)}",
        *([f"Content-Type: {media}"] if media else []),
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def saying(answer: bytes) -> Serve:
    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return serve


@asynccontextmanager
async def played(folder: Path, serve: Serve, **keys: object) -> AsyncIterator[tuple[Stage, Service]]:
    service = Service()
    await service.open(serve)
    try:
        async with Stage("http", folder, url=service.url, **keys) as stage:  # type: ignore[arg-type] # any key
            yield stage, service
    finally:
        await service.close()


async def told(folder: Path, answer: bytes) -> Outcome:
    async with played(folder, saying(answer)) as (stage, _):
        return await stage.act("any")


OK = reply(b'{"result": 1}')


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK, Finished(1)),
        (reply(b'{"result": null, "more": 3}', "201 Created"), Finished(None)),
        (reply(b'{"result": 1}', media="application/json; charset=utf-8"), Finished(1)),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'7\r\n{"resul\r\n5\r\nt": 1\r\n1\r\n}\r\n0\r\n\r\n',
            Finished(1),
        ),
        (reply(b'{"error": {"message": "no such customer"}}'), Failed("agent_failed", "no such customer", False)),
        (reply(b'{"error": {"message": "busy", "retry": true}}'), Failed("agent_failed", "busy", True)),
        (reply(b'{"error": {"message": ""}}', "503 X"), Failed("agent_failed", "the agent gave no reason", True)),
        (reply(b'{"error": {"message": "no", "retry": false}}', "500 X"), Failed("agent_failed", "no", False)),
        (reply(b"", "404 Whatever"), Failed("agent_failed", "the agent answered 404 Not Found", False)),
        (reply(b"", "429 Slow"), Failed("agent_failed", "the agent answered 429 Too Many Requests", True)),
        (
            reply(b'{"result": 1}', "500 X"),
            Failed("agent_failed", "the agent answered 500 Internal Server Error: '{\"result\": 1}'", True),
        ),
        (
            reply(b"<h1>Bad\x1b[31m</h1>", "502 X", media="text/html"),
            Failed("agent_failed", "the agent answered 502 Bad Gateway: '<h1>Bad\\x1b[31m</h1>'", True),
        ),
        (
            reply(b"", "302 Found", "Location: http://169.254.169.254/keys"),
            Failed(
                "agent_output",
                "the agent answered 302, a redirect to 'http://169.254.169.254/keys', which is not followed; "
                "set url to where it is",
                False,
            ),
        ),
        (
            reply(b"hello", media="text/plain"),
            Failed("agent_output", "the agent answers 'text/plain' instead of application/json", False),
        ),
        (
            reply(b"{}", media=""),
            Failed("agent_output", "the agent answers no content type instead of application/json", False),
        ),
        (reply(b"{}"), Failed("agent_output", "the agent must answer either result or error: '{}'", False)),
        (
            reply(b'{"result": 1, "error": {"message": "x"}}'),
            Failed(
                "agent_output",
                'the agent must answer either result or error: \'{"result": 1, "error": {"message": "x"}}\'',
                False,
            ),
        ),
        (
            reply(b"x" * 10, "200 OK", "Content-Encoding: gzip"),
            Failed("agent_output", "the agent answers in the encoding 'gzip', which it was not offered", False),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999999999\r\n\r\n",
            Failed("agent_output", "the agent answers more than 1573888 bytes", False),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n" + b'{"result"',
            Failed("agent_crashed", "the agent closed the connection before its answer was whole", True),
        ),
        (b"", Failed("agent_crashed", "the agent closed the connection before its answer was whole", True)),
    ],
    ids=lambda value: ascii(value)[:50],
)
async def test_every_answer_is_one_outcome(tmp_path: Path, answer: bytes, expected: Outcome) -> None:
    assert await told(tmp_path, answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(b"no json"), "the agent answers what is none ("),
        (reply(b"\xff\xfe"), "the agent answers what is none ("),
        (reply(b"[" * 100_000), "the agent answers what is none ("),
        (reply(b'"text"'), "the agent answers what is none ("),
        (reply(b'{"result": NaN}'), "the agent answers what is none ("),
        (reply(b'{"error": "text"}'), "the agent answers what is none ("),
        (b"hello, I am no HTTP\r\n\r\n", "the agent answers what is no HTTP: "),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "the agent answers what is no HTTP: "),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_junk_fails_the_task_with_a_sentence(tmp_path: Path, answer: bytes, expected: str) -> None:
    outcome = await told(tmp_path, answer)
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.retry) == ("agent_output", False)
    assert outcome.message.startswith(expected)
    assert len(outcome.message) < 700


async def test_the_request_says_which_task_it_is_and_nothing_compressed_is_asked_for(tmp_path: Path) -> None:
    async with played(tmp_path, saying(OK)) as (stage, service):
        await stage.act("any", task="mine", epoch=7, lease_s=3.0)
        head, _, body = service.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /tasks HTTP/1.1\r\n")
    assert b"Accept-Encoding: identity" in head
    given = json.loads(body)
    assert set(given) == {
        "task", "capability", "input", "epoch", "attempt", "deadline_s", "iid", "gid", "lease_s",
    }  # fmt: skip
    assert (given["task"], given["epoch"], given["lease_s"]) == ("mine", 7, 3.0)


async def test_an_event_is_one_post_that_takes_no_slot_and_any_success_ends_it(tmp_path: Path) -> None:
    holding = asyncio.Event()

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        if b'"event"' not in request:
            await holding.wait()
        writer.write(OK if b'"event"' not in request else b"HTTP/1.1 204 No Content\r\n\r\n")

    async with played(tmp_path, serve, topics=[TOPIC]) as (stage, service):
        assert stage.agent.card.topics == (TOPIC,)
        task = stage.start("any")
        await until(lambda: service.requests)
        assert await stage.hear("heard", 3) == Finished(None)
        holding.set()
        assert await task == Finished(1)
    given = json.loads(service.requests[1].partition(b"\r\n\r\n")[2])
    assert set(given) == {"task", "topic", "event", "publisher", "deadline_s", "iid", "gid"}
    assert (given["topic"], given["event"], given["publisher"]) == (TOPIC, ["heard", 3], "shop@abcdefgh")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(b"heard", media="text/plain"), Finished(None)),
        (reply(b"", "500 X"), Failed("agent_failed", "the agent answered 500 Internal Server Error", True)),
    ],
    ids=["text", "500"],
)
async def test_what_becomes_of_an_event_is_told_by_the_status(tmp_path: Path, answer: bytes, expected: Outcome) -> None:
    async with played(tmp_path, saying(answer), topics=[TOPIC]) as (stage, _):
        assert await stage.hear("any") == expected


async def test_secrets_come_from_files_and_are_read_for_each_task(tmp_path: Path) -> None:
    for name, text in (("token", "s3cret\n"), ("headers", "X-Api-Key: abc\n\nX-Team: growth\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    async with played(tmp_path, saying(OK), token_file="token", headers_file="headers") as (stage, service):
        await stage.act("any")
        (tmp_path / "token").write_text("n3w")
        await stage.act("any")
    assert b"Authorization: Bearer s3cret\r\n" in service.requests[0]
    assert b"X-Api-Key: abc\r\nX-Team: growth\r\n" in service.requests[0]
    assert b"Authorization: Bearer n3w\r\n" in service.requests[1]


async def test_a_file_of_secrets_that_cannot_be_used_is_named_at_the_start(tmp_path: Path) -> None:
    stage = Stage("http", tmp_path, url="http://127.0.0.1:9/", token_file="token")
    with pytest.raises(MeshError, match=f"token_file: {tmp_path}/token cannot be read: No such file"):
        await stage.agent.start()
    assert stage.agent.state == "failed"
    await stage.close()


async def test_a_cancel_closes_the_request(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def hang(request: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.transport.is_closing():
                writer.write(b"H")
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    async with played(tmp_path, hang) as (stage, service):
        held = stage.start("any")
        await until(lambda: service.requests)
        held.cancel()
        await asyncio.wait([held])
        await asyncio.wait_for(closed.wait(), 10)


async def test_a_service_that_hangs_takes_no_longer_than_the_limit(tmp_path: Path) -> None:
    async def hang(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:-3])
        await writer.drain()
        await asyncio.wait_for(asyncio.get_running_loop().create_future(), 5)

    async with played(tmp_path, hang, limits={"task_s": 0.2}) as (stage, _):
        assert await stage.act("any") == Failed("agent_timeout", "the agent took longer than the 0.2 s it had", True)


async def test_a_service_that_is_away_shows_as_restarting_and_is_found_when_it_comes(tmp_path: Path) -> None:
    service = Service()
    async with Stage("http", tmp_path, url=service.url) as stage:
        why = f"cannot be reached: {service.url}: Connection refused"
        assert (stage.agent.state, stage.agent.detail[: len(why) - 18]) == ("restarting", why[:-18])
        outcome = await stage.act("any")
        assert isinstance(outcome, Failed)
        assert (outcome.code, outcome.retry) == ("agent_unavailable", True)
        await service.open(saying(OK))
        await until(lambda: stage.agent.state == "ready")
        assert await stage.act("any") == Finished(1)
        assert stage.agent.log()
    await service.close()


async def test_a_service_that_goes_away_is_noticed_by_the_first_task(tmp_path: Path) -> None:
    slow = SHORT.__class__(backoff_s_min=60.0, backoff_s_max=60.0)
    async with played(tmp_path, saying(OK), patience=slow) as (stage, service):
        assert await stage.act("any") == Finished(1)
        await service.close()
        outcome = await stage.act("any")
        assert isinstance(outcome, Failed)
        assert (outcome.code, outcome.retry) == ("agent_unavailable", True)
        assert outcome.message.startswith(f"the agent cannot be reached: {service.url}")
        assert stage.agent.state == "restarting"


@pytest.mark.parametrize(
    ("after", "rest_s"), [("7", 7.0), ("99999999999999999999", 300.0), ("Fri, 31 Dec 9999 23:59:59 GMT", 300.0)]
)
async def test_a_service_that_asks_to_be_left_alone_gets_no_task_meanwhile(
    tmp_path: Path, after: str, rest_s: float
) -> None:
    answer = reply(b"", "503 X", f"Retry-After: {after}")
    async with played(tmp_path, saying(answer)) as (stage, service):
        assert await stage.act("any") == Failed("agent_failed", "the agent answered 503 Service Unavailable", True)
        assert stage.agent.state == "restarting"
        assert stage.agent.detail.endswith(f"asked to be left alone for {rest_s:g} s")
        assert isinstance(await stage.act("any"), Failed)
        assert len(service.requests) == 1


@pytest.mark.parametrize("after", ["", "-1", "soon", "0", "Mon, 01 Jan 1990 00:00:00 GMT", "1e9"])
async def test_a_retry_after_that_says_nothing_leaves_the_agent_ready(tmp_path: Path, after: str) -> None:
    async with played(tmp_path, saying(reply(b"", "503 X", f"Retry-After: {after}"))) as (stage, _):
        await stage.act("any")
        assert stage.agent.state == "ready"


async def test_what_does_not_fit_the_schema_never_reaches_the_service(tmp_path: Path) -> None:
    schemas = {"act@1": {"takes": {"type": "array", "items": {"maximum": 3}}, "gives": {"type": "string"}}}
    async with played(tmp_path, saying(OK), schemas=schemas) as (stage, service):
        wrong = "the input does not fit what act@1 takes: [0]: 4 is greater than the maximum of 3"
        work = stage.work([4])
        assert await stage.agent.run(work, Desk()) == Failed("bad_input", wrong, retry=False)
        assert service.requests == []
        assert await stage.agent.run(stage.work([1]), Desk()) == Failed(
            "agent_output", 'the result does not fit what act@1 gives: 1 is not of type "string"', retry=False
        )


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begins = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins.replace(year=2120))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    plain = serialization.NoEncryption()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "both.pem").write_bytes(
        key.private_bytes(*form) + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted_until_somebody_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    await service.open(saying(OK), tls=self_signed(tmp_path))
    url = service.url.replace("http://127.0.0.1", "https://localhost")
    try:
        async with Stage("http", tmp_path, url=url) as stage:
            why = f"cannot be reached: {url} shows a certificate that is not trusted: self-signed certificate"
            assert (stage.agent.state, stage.agent.detail) == ("restarting", why)
            assert await stage.act("any") == Failed("agent_unavailable", f"the agent is restarting: {why}", retry=True)
        assert service.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "both.pem"))
        async with Stage("http", tmp_path, url=url) as stage:
            assert await stage.act("any") == Finished(1)
    finally:
        await service.close()


async def test_it_is_started_once_and_again_after_a_stop(tmp_path: Path) -> None:
    async with played(tmp_path, saying(OK)) as (stage, _):
        await stage.agent.start()
        await stage.agent.stop()
        await stage.agent.stop()
        assert isinstance(stage.agent, HttpAgent)
        assert stage.agent.state == "stopped"
        await stage.agent.start()
        assert await stage.act("any") == Finished(1)
