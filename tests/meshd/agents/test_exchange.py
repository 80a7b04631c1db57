"""Answers without end or sense: each is one sentence on the task, and the daemon goes on meanwhile."""

import asyncio
import gzip
from pathlib import Path

import pytest

from meshd.agents.exchange import HEAD_BYTES_MAX, INTERIM_MAX, PIECES_MAX, TURN_PIECES, reached
from meshd.ports import Failed, Finished
from tests.contracts.stage import Stage
from tests.meshd.agents.test_http import OK, Serve, Service, played, reply, saying

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
NO_END = f"the agent answers what is no HTTP: a head or a line of more than {HEAD_BYTES_MAX} bytes"


def pouring(begin: bytes, more: bytes) -> Serve:
    """A service that never comes to an end."""

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while not writer.is_closing():
            writer.write(more * (65_536 // len(more)))
            await writer.drain()

    return serve


@pytest.mark.parametrize(
    ("begin", "more", "expected"),
    [
        (
            b"",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            f"the agent says more than {INTERIM_MAX} times that its answer is to come (1xx)",
        ),
        (b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n", NO_END),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y", NO_END),
        (b"HTTP/1.1 100 Continue\r\n", b"X-More: 1\r\n", NO_END),
        (CHUNKED + b"1;", b"extension", NO_END),
        (CHUNKED + b"1\r\n[\r\n0\r\n", b"X-Trailer: 1\r\n", NO_END),
        (CHUNKED, b"400\r\n" + b"1" * 1_024 + b"\r\n", "the agent answers more than 1573888 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
            b"[[[[",
            "the agent answers more than 1573888 bytes",
        ),
        (b"", b"\x00\xff", "the agent answers what is no HTTP: 'illegal status line'"),
    ],
    ids=["1xx", "headers", "header", "1xx headers", "extension", "trailers", "chunks", "body", "bytes"],
)
async def test_an_answer_without_end_is_cut_off(tmp_path: Path, begin: bytes, more: bytes, expected: str) -> None:
    async with played(tmp_path, pouring(begin, more)) as (stage, _):
        assert await stage.act("any") == Failed("agent_output", expected, retry=False)
        assert stage.agent.state == "ready"


async def test_the_loop_turns_while_an_answer_pours_in(tmp_path: Path) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    async with played(tmp_path, pouring(CHUNKED, b"1\r\n1\r\n")) as (stage, _):
        beating = asyncio.create_task(beat())
        pieces = f"the agent answers in more than {PIECES_MAX} pieces"
        assert await stage.act("any") == Failed("agent_output", pieces, retry=False)
        beating.cancel()
    assert beats >= PIECES_MAX // TURN_PIECES


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "the agent answers what is no HTTP: 'Received server",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
            "the agent answers what is no HTTP: 'conflicting Content-Length",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "the agent answers what is no HTTP: 'bad Content-Length'"),
        (CHUNKED + b"zz\r\n", 'the agent answers what is no HTTP: "illegal chunk header'),
        (CHUNKED + b"1\r\n12345\r\n", 'the agent answers what is no HTTP: "malformed chunk footer'),
        (b"HTTP/1.1 099 Low\r\n\r\n", "the agent answers what is no HTTP: "),
        (b"HTTP/1.1 200 OK\r\nB\xc3\xa4d name: 1\r\n\r\n", "the agent answers what is no HTTP: "),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 'the agent answers what is no HTTP: "illegal status line'),
        (
            reply(b"", "301 X", "Location: file:///etc/passwd"),
            "the agent answered 301, a redirect to 'file:///etc/passw",
        ),
        (reply(gzip.compress(b" " * 1_000_000)), "the agent answers what is none ("),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_an_answer_without_sense_is_named(tmp_path: Path, answer: bytes, expected: str) -> None:
    async with played(tmp_path, saying(answer)) as (stage, _):
        outcome = await stage.act("any")
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.retry) == ("agent_output", False)
    assert outcome.message.startswith(expected)
    assert len(outcome.message) < 700


async def test_a_few_words_before_the_answer_are_no_harm(tmp_path: Path) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * INTERIM_MAX
    async with played(tmp_path, saying(hint + OK)) as (stage, _):
        assert await stage.act("any") == Finished(1)


async def test_what_follows_an_answer_is_nobodys_answer_and_cookies_are_not_kept(tmp_path: Path) -> None:
    count = 0

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        cookies = ["Set-Cookie: \xff=;;;=" + "x" * 100] * 100
        writer.write(reply(b'{"result": %d}' % count, "200 OK", *cookies) + reply(b'{"result": "stale"}'))

    async with played(tmp_path, serve) as (stage, service):
        assert await stage.act("any") == Finished(1)
        assert await stage.act("any") == Finished(2)
        assert b"cookie" not in b"".join(service.requests).lower()


async def test_a_connection_that_is_reset_in_the_middle_is_a_crash(tmp_path: Path) -> None:
    async def reset(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:-3])
        await writer.drain()
        writer.transport.abort()

    async with played(tmp_path, reset) as (stage, _):
        why = "the agent closed the connection before its answer was whole"
        assert await stage.act("any") == Failed("agent_crashed", why, retry=True)


async def test_an_answer_in_drops_ends_with_the_limit(tmp_path: Path) -> None:
    async def drip(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        while not writer.is_closing():
            writer.write(b"1\r\n \r\n")
            await asyncio.sleep(0.01)

    async with played(tmp_path, drip, limits={"task_s": 0.3}) as (stage, _):
        assert await stage.act("any") == Failed("agent_timeout", "the agent took longer than the 0.3 s it had", True)


async def test_an_answer_may_come_before_the_request_is_read(tmp_path: Path) -> None:
    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b'{"error": {"message": "not today"}}', "413 X"))
        await writer.drain()
        await reader.read()  # until the other side has gone
        writer.close()

    server = await asyncio.start_server(hasty, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Stage("http", tmp_path, url=f"http://127.0.0.1:{port}/") as stage:
        assert await stage.act("any", "x" * 200_000) == Failed("agent_failed", "not today", retry=False)
    server.close()
    await server.wait_closed()


async def test_a_service_that_speaks_no_tls_where_it_should_is_named(tmp_path: Path) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b"", "400 Bad Request"))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with Stage("http", tmp_path, url=url) as stage:
        assert stage.agent.state == "restarting"
        assert stage.agent.detail.startswith(f"cannot be reached: {url} speaks no TLS that can be used: ")
    server.close()
    await server.wait_closed()


async def test_the_request_names_path_query_and_host_as_the_url_does(tmp_path: Path) -> None:
    service = Service()
    await service.open(saying(OK))
    try:
        async with Stage("http", tmp_path, url=f"http://127.0.0.1:{service.port}?shop=3%20a&x=%C3") as stage:
            assert await stage.act("any") == Finished(1)
    finally:
        await service.close()
    head = service.requests[0].partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0] == b"POST /?shop=3%20a&x=%C3 HTTP/1.1"
    assert b"Host: 127.0.0.1:%d" % service.port in head
    assert b"Connection: close" in head


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
async def test_a_host_that_no_resolver_could_be_asked_for_cannot_be_reached(host: str) -> None:
    with pytest.raises(OSError, match="is no name of a host"):
        await reached(f"http://{host}/", None, within_s=3.0)
