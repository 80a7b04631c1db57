"""Every path: what it answers, what it passes on, what it refuses."""

import aiohttp
import msgspec
import pytest

from meshd.api import schemas
from meshd.api.routes import ROUTES
from protocol.errors import MeshError
from tests.meshd.api.fake_backend import LIFE, A, B, FakeBackend, a_status, a_task, done

READS = [
    ("/v1/status", schemas.Status),
    ("/v1/peers", schemas.Peers),
    ("/v1/peers/b", schemas.Peer),
    ("/v1/agents", schemas.Agents),
    ("/v1/agents/scorer", schemas.Agents),
    ("/v1/capabilities", schemas.Capabilities),
    ("/v1/capabilities/scoring@2", schemas.CapabilityView),
    ("/v1/tasks", schemas.TaskPage),
    ("/v1/tasks/one", schemas.Task),
    ("/healthz", schemas.Health),
    ("/readyz", schemas.Readiness),
]


@pytest.mark.parametrize(("path", "answer"), READS)
async def test_a_read_answers_exactly_its_schema(
    unix: aiohttp.ClientSession, backend: FakeBackend, path: str, answer: type[msgspec.Struct]
) -> None:
    backend.put(a_task("one"))
    async with unix.get(path) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        raw = await response.read()
    assert msgspec.json.encode(msgspec.json.decode(raw, type=answer)) == raw


def test_no_two_routes_answer_the_same_question() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


async def test_a_submit_passes_on_what_was_asked_and_answers_201_then_200(
    unix: aiohttp.ClientSession, backend: FakeBackend
) -> None:
    body = {"capability": "scoring@2", "input": {"n": 1}, "priority": 9, "exclusive": True, "deadline_s": 5}
    for expected in (201, 200):
        async with unix.post("/v1/tasks", json=body, headers={"Idempotency-Key": "k-1"}) as response:
            assert response.status == expected
    request, key, principal = backend.submitted[0]
    assert (request.input, request.priority, request.exclusive, request.deadline_s) == ({"n": 1}, 9, True, 5.0)
    assert (key, principal) == ("k-1", "operator")


async def test_a_submit_that_waits_answers_the_ended_task(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    backend.ends_with = done(a_task("key"), [1, 2])
    async with unix.post("/v1/tasks", json={"capability": "scoring@2", "wait_s": 5}) as response:
        assert response.status == 201
        assert (await response.json())["result"] == [1, 2]


async def test_an_unanswered_write_answers_504_with_the_id(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    backend.refuse = MeshError("unsettled", task="t" * 26, seconds=5)
    async with unix.post("/v1/tasks", json={"capability": "scoring@2"}) as response:
        assert response.status == 504
        assert (await response.json())["error"]["task"] == "t" * 26


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"capability": "scoring"}', "not a capability"),
        ('{"capability": "scoring@2", "colour": 1}', "unknown field `colour`"),
        ('{"capability": "scoring@2", "priority": 10}', "$.priority"),
        ('{"capability": "scoring@2", "deadline_s": 0}', "$.deadline_s"),
        ('{"capability": "scoring@2", "wait_s": 61}', "$.wait_s"),
        ('{"capability": 7}', "$.capability"),
        ('{"capability": "a@1", "capability": "b@1"}', "the body names capability more than once"),
        ('{"capability": "a@1", "input": [{"x": {"k": 1, "l": 2, "\\u006b": 3}}]}', "names k more than once"),
        ('{"capability": "a@1", "input": {"\\u001b[2J": 1, "\\u001b[2J": 1}}', "names \\x1b[2J more than once"),
        ("{}", "capability"),
        ("  ", "missing required field `capability`"),
        ("[1]", "the body"),
        ('{"capability": "scoring@2", "input": ' + "[" * 100_000, "nested deeper"),
    ],
)
async def test_a_bad_submit_is_refused_naming_what_is_wrong(
    unix: aiohttp.ClientSession, backend: FakeBackend, body: str, says: str
) -> None:
    sent = body.encode("latin-1")
    async with unix.post("/v1/tasks", data=sent, headers={"Content-Type": "application/json"}) as response:
        assert response.status == 400
        assert says in (await response.json())["detail"]
    assert not backend.submitted


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[" * 100_000, "the body is no JSON: it is nested deeper than 16 levels"),
        (b"{", "the body is no JSON: it is cut off at byte 1"),
        (b'{"colour": 1, ', "the body is no JSON: it is cut off at byte 14"),
        (b'{"colour": 1} {', "the body is no JSON: trailing characters (byte "),
        (b'  {"input": NaN', "the body is no JSON: invalid character (byte 12)"),
        (b"capability=a", "the body is no JSON: invalid character (byte 0)"),
        (b'{"input": "\\ud800"}', "the body is no JSON: a \\u escape is half of a pair"),
        (b'{"capability": "\xff', "the body is no JSON: no UTF-8 at byte 16"),
    ],
)
async def test_a_body_that_is_no_json_is_told_at_which_byte(
    unix: aiohttp.ClientSession, backend: FakeBackend, body: bytes, says: str
) -> None:
    async with unix.post("/v1/tasks", data=body, headers={"Content-Type": "application/json"}) as response:
        assert response.status == 400
        problem = await response.json()
        assert problem["detail"].startswith(says)
        assert (problem["error"]["code"], problem["error"]["rule"]) == ("bad_request", "json")
    assert not backend.submitted


@pytest.mark.parametrize("key", ["", "two words", "x" * 8_000, "x" * 129, "caf\u00e9"])
async def test_an_idempotency_key_is_short_printable_ascii(unix: aiohttp.ClientSession, key: str) -> None:
    async with unix.post("/v1/tasks", json={"capability": "a@1"}, headers={"Idempotency-Key": key}) as response:
        assert response.status == 400
        assert "Idempotency-Key" in (await response.json())["detail"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("colour=1", "unknown field `colour`"),
        ("limit=0", "$.limit"),
        ("limit=1001", "$.limit"),
        ("limit=many", "$.limit"),
        ("limit=1&limit=2", "more than once"),
        ("state=lost", "$.state"),
        ("capability=scoring", "not a capability"),
        ("cursor=%21%21", "the cursor"),
        ("cursor=W1tb", "the cursor"),
    ],
)
async def test_a_bad_query_is_refused_naming_what_is_wrong(unix: aiohttp.ClientSession, query: str, says: str) -> None:
    async with unix.get(f"/v1/tasks?{query}") as response:
        assert response.status == 400
        assert says in (await response.json())["detail"]


async def test_what_a_request_said_comes_back_escaped_and_cut_short(unix: aiohttp.ClientSession) -> None:
    async with unix.get("/v1/tasks", params={"\u202eevil\x1b[2J": "1"}) as response:
        assert "`\\u202eevil\\x1b[2J`" in (await response.json())["detail"]
    async with unix.post("/v1/tasks", json={"x" * 500_000: 1}) as response:
        text = await response.text()
    assert "unknown field" in text
    assert len(text) < 10_000


async def test_pages_follow_each_other_without_gap_or_repetition(
    unix: aiohttp.ClientSession, backend: FakeBackend
) -> None:
    backend.put(*(a_task(f"t{n:02d}", submitted_ms=LIFE + n // 3) for n in range(20)))
    seen: list[str] = []
    cursor: str | None = ""
    pages = 0
    while cursor is not None:
        async with unix.get(f"/v1/tasks?limit=7&cursor={cursor}") as response:
            page = await response.json()
        seen += [task["id"][:3] for task in page["tasks"]]
        cursor, pages = page["next"], pages + 1
    assert pages == 3
    assert seen == [f"t{n:02d}" for n in reversed(range(20))]


async def test_a_page_of_heavy_results_ends_early(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    backend.put(*(done(a_task(f"t{n:02d}"), "x" * 262_000) for n in range(20)))
    async with unix.get("/v1/tasks") as response:
        page = await response.json()
    assert len(page["tasks"]) == 15
    async with unix.get(f"/v1/tasks?cursor={page['next']}") as response:
        rest = await response.json()
    assert (len(rest["tasks"]), rest["next"]) == (5, None)


async def test_tasks_are_filtered(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    backend.put(a_task("one"), a_task("two", home=B, gid="g2"), done(a_task("three"), 1))
    for query, expected in [
        ("home=b", {"two"}),
        (f"home={A}", {"one", "three"}),
        ("state=done", {"three"}),
        ("gid=g2", {"two"}),
        ("capability=other@1", set()),
    ]:
        async with unix.get(f"/v1/tasks?{query}") as response:
            assert {task["id"].rstrip("x") for task in (await response.json())["tasks"]} == expected


async def test_a_long_poll_answers_at_the_end_of_the_task(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    backend.put(a_task("one"))
    backend.ends_with = done(a_task("one"), 7)
    async with unix.get("/v1/tasks/one?wait_s=30") as response:
        assert (await response.json())["state"] == "done"
    async with unix.get("/v1/tasks/one?wait_s=30") as response:
        assert (await response.json())["result"] == 7
    assert backend.waits == 1, "what has ended is not waited for"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/tasks/none", 404, "unknown_task"),
        ("GET", "/v1/tasks/t", 409, "ambiguous"),
        ("POST", "/v1/tasks/none/cancel", 404, "unknown_task"),
        ("POST", "/v1/tasks/t-done/cancel", 409, "already_ended"),
        ("POST", "/v1/tasks/none/retry", 404, "unknown_task"),
        ("POST", "/v1/tasks/t-done/retry", 409, "done_already"),
        ("POST", "/v1/tasks/t-one/retry", 409, "under_way"),
        ("GET", "/v1/peers/z", 404, "unknown_peer"),
        ("POST", "/v1/peers/z/ping", 404, "unknown_peer"),
        ("GET", "/v1/agents/z", 404, "unknown_agent"),
        ("GET", "/v1/agents?node=z", 404, "unknown_peer"),
        ("GET", "/v1/capabilities/other@1", 404, "no_agent"),
        ("GET", "/v1/capabilities/other", 400, "bad_capability"),
        ("POST", "/v1/call/other", 400, "bad_capability"),
        ("GET", "/v1/nothing", 404, "unknown_path"),
        ("GET", "/", 404, "unknown_path"),
        ("GET", "/v1/tasks/%0a", 400, "bad_input"),
        ("GET", f"/v1/tasks/{'x' * 200}", 400, "bad_input"),
        ("DELETE", "/v1/tasks", 405, "bad_method"),
    ],
)
async def test_a_refusal_is_a_problem_document_that_names_the_node(
    unix: aiohttp.ClientSession, backend: FakeBackend, method: str, path: str, status: int, code: str
) -> None:
    backend.put(a_task("t-one"), done(a_task("t-done"), 1))
    async with unix.request(method, path) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
        problem = msgspec.json.decode(await response.read(), type=schemas.Problem, strict=True)
    assert problem.error.code == code
    assert problem.status == status
    assert (problem.error.node, problem.error.node_name) == (A, "a")
    assert problem.error.hint


async def test_a_method_that_is_not_taken_names_those_that_are(unix: aiohttp.ClientSession) -> None:
    async with unix.delete("/v1/tasks") as response:
        assert response.headers["Allow"] == "GET,POST"


async def test_a_call_passes_on_its_input_and_answers_the_result(
    unix: aiohttp.ClientSession, backend: FakeBackend
) -> None:
    async with unix.post("/v1/call/scoring@2", json={"input": [1], "timeout_s": 3}) as response:
        assert (await response.json())["result"] == {"score": 0.7}
    assert backend.called[0][1] == schemas.CallRequest(input=[1], timeout_s=3.0)


async def test_agents_can_be_narrowed_to_a_node(unix: aiohttp.ClientSession) -> None:
    for query, expected in [("", [A, B]), ("?node=b", [B]), ("?here=true", [A])]:
        async with unix.get(f"/v1/agents{query}") as response:
            assert [agent["node"] for agent in (await response.json())["agents"]] == expected


async def test_capabilities_are_searched_by_name_agent_and_purpose(unix: aiohttp.ClientSession) -> None:
    for text, expected in [("SCORING", 1), ("scorer", 1), ("Offers", 1), ("weather", 0)]:
        async with unix.get("/v1/capabilities", params={"search": text}) as response:
            assert len((await response.json())["capabilities"]) == expected


async def test_readiness_is_refused_with_the_reason_until_joined(
    unix: aiohttp.ClientSession, backend: FakeBackend
) -> None:
    backend.status_ = a_status(state="detached", reason="the server is gone")
    async with unix.get("/readyz") as response:
        assert response.status == 503
        assert (await response.json())["detail"] == "this node is detached: the server is gone"
    async with unix.get("/healthz") as response:
        assert response.status == 200


async def test_stop_and_invite_answer_what_they_did(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    async with unix.post("/v1/invitations") as response:
        assert (response.status, (await response.json())["token"]) == (201, "mj1_token")
    async with unix.post("/v1/stop", json={}) as response:
        assert (response.status, await response.json()) == (202, {"stopping": True})
    assert backend.is_stopping


async def test_a_mistake_of_ours_is_said_without_its_details(
    unix: aiohttp.ClientSession, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.refuse = ZeroDivisionError("secret")
    async with unix.get("/v1/peers") as response:
        assert response.status == 500
        assert (await response.json())["error"]["code"] == "internal"
        assert "secret" not in await response.text()
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    "body", [{"deadline_s": 0}, {"deadline_s": -1}, {"deadline_s": 1e300}, {"deadline": 5}, {"deadline_s": "5"}, []]
)
async def test_a_retry_with_a_body_that_is_none_is_refused(
    unix: aiohttp.ClientSession, backend: FakeBackend, body: object
) -> None:
    backend.put(a_task("one", state="failed"))
    async with unix.post("/v1/tasks/one/retry", json=body) as response:
        assert (response.status, (await response.json())["error"]["code"]) in ((400, "bad_input"), (400, "bad_request"))
    assert backend.retried == []


async def test_a_retry_says_who_asked_and_with_which_deadline(
    unix: aiohttp.ClientSession, backend: FakeBackend
) -> None:
    backend.put(a_task("one", state="failed"))
    async with unix.post("/v1/tasks/one/retry", json={"deadline_s": 5}) as response:
        answer = await response.json()
    assert (response.status, answer["state"], answer["retries"]) == (200, "open", 1)
    ((task, request, principal),) = backend.retried
    assert (task, request.deadline_s, principal) == (a_task("one").id, 5.0, "operator")
