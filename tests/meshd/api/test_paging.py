"""Pages of what is ordered by name: without gap or repetition, whatever comes and goes meanwhile."""

import aiohttp
import pytest

from meshd.api import paging
from meshd.api.paging import PageQuery
from protocol.errors import MeshError
from tests.meshd.api.fake_backend import FakeBackend, a_peer, an_agent

JUNK = ["!!", "W1tb", "x" * 1_024, "bnVsbA", "WzFd", "eyJhIjoxfQ", "é", "A" * 1_023]


def _all(names: list[str], limit: int) -> list[tuple[str, ...]]:
    pages, cursor = [], ""
    while True:
        page, following = paging.of_names(names, lambda name: (name,), PageQuery(limit, cursor))
        pages.append(page)
        if following is None:
            return pages
        cursor = following


def test_pages_give_everything_once() -> None:
    names = [f"n{number:02d}" for number in range(10)]
    assert [name for page in _all(names, 3) for name in page] == names
    assert [len(page) for page in _all(names, 5)] == [5, 5], "no empty page at the end"
    assert _all([], 5) == [()]


def test_a_cursor_names_a_place_and_not_an_item() -> None:
    page, cursor = paging.of_names(["a", "b", "c", "d"], lambda name: (name,), PageQuery(2))
    assert (page, cursor is None) == (("a", "b"), False)
    rest, end = paging.of_names(["a", "aa", "bb", "d"], lambda name: (name,), PageQuery(2, cursor or ""))
    assert (rest, end) == (("bb", "d"), None)


@pytest.mark.parametrize("cursor", JUNK)
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(MeshError, match="the cursor is not one of a page"):
        paging.of_names(["a"], lambda name: (name,), PageQuery(1, cursor))
    with pytest.raises(MeshError, match="the cursor is not one of a page"):
        paging.place(cursor)


@pytest.mark.parametrize("noun", ["peers", "agents", "capabilities"])
async def test_each_listing_has_pages(unix: aiohttp.ClientSession, backend: FakeBackend, noun: str) -> None:
    backend.peers_ = [a_peer(name, name * 52) for name in "abcde"]
    backend.agents_ = [an_agent("scorer", node * 52) for node in "abcde"]
    backend.capabilities_ = [type(backend.capabilities_[0])(f"c{n}@1", 1, 1, ()) for n in range(5)]
    seen: list[object] = []
    cursor: str | None = ""
    sizes = []
    while cursor is not None:
        async with unix.get(f"/v1/{noun}", params={"limit": "2", "cursor": cursor}) as response:
            page = await response.json()
        seen += page[noun]
        sizes.append(len(page[noun]))
        cursor = page["next"]
    async with unix.get(f"/v1/{noun}") as response:
        assert (await response.json()) == {noun: seen, "next": None}
    assert sizes == [2, 2, 1]


async def test_peers_of_one_region_have_pages_of_their_own(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    backend.peers_ = [a_peer(name, name * 52, region="west" if name in "bd" else "east") for name in "abcde"]
    async with unix.get("/v1/peers", params={"region": "west", "limit": "1"}) as response:
        first = await response.json()
    async with unix.get("/v1/peers", params={"region": "west", "cursor": first["next"]}) as response:
        rest = await response.json()
    assert [peer["name"] for peer in first["peers"] + rest["peers"]] == ["b", "d"]
    assert rest["next"] is None
    async with unix.get("/v1/peers", params={"region": "nowhere"}) as response:
        assert (await response.json())["peers"] == []


@pytest.mark.parametrize("region", ["A", "a b", "x" * 33, "*", "a.b"])
async def test_what_can_be_no_region_is_refused(unix: aiohttp.ClientSession, region: str) -> None:
    async with unix.get("/v1/peers", params={"region": region}) as response:
        assert response.status == 400
        assert (await response.json())["detail"].startswith("a region is 1 to 32 of a-z 0-9 _ -, not '")


@pytest.mark.parametrize("noun", ["peers", "agents", "capabilities", "tasks"])
@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=%21%21", "cursor=" + "x" * 2_000, "a=1"])
async def test_a_page_that_cannot_be_is_refused(unix: aiohttp.ClientSession, noun: str, query: str) -> None:
    async with unix.get(f"/v1/{noun}?{query}") as response:
        assert response.status == 400
