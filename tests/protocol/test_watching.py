"""The watcher's side put together: an auction from the wish to the award, over real nodes and frames."""

from collections.abc import Callable
from random import Random
from typing import cast

import msgspec
from msgspec import structs

from protocol import ids
from protocol.auction import Auction
from protocol.effects import Emit, Read
from protocol.events import TasksAdopted
from protocol.guardian import Guardian, Homes
from protocol.inputs import Entry, Listed
from protocol.owners import Owners
from protocol.performance import Lapses
from protocol.primitives import Instant
from protocol.reading import Reader
from protocol.records import Standing
from protocol.watch import Watch
from protocol.watching import ADOPTED_S, Watching
from protocol.wire.auction import Offer, Taken
from protocol.wire.task import Answer, Result, TaskRecord, TaskState
from tests.explore import World
from tests.protocol.conversation import instant
from tests.protocol.work import ME, SETTINGS, B, C, D, Home, Mesh, frame, record

ALONE = Homes((ME,), lambda node: True, 60.0)


class Opened:
    """Reads frames without a signature."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def read(self, key: str, frame: bytes, now: Instant, *, revision: int = 0) -> Standing:
        del now
        self.keys.append(key)
        return Standing(msgspec.msgpack.decode(frame, type=TaskRecord), revision, frame)


def _watching(
    home: Home,
    guardian: Guardian,
    auction: Auction | None = None,
    reader: Opened | None = None,
    homes: Callable[[Instant], Homes] = lambda now: ALONE,
) -> Watching:
    return Watching(
        me=ME,
        ledger=home.ledger,
        watch=Watch(settings=SETTINGS, owners=Owners()),
        auction=auction or Auction(settings=SETTINGS, view=Mesh({}), lapses=Lapses(), rng=Random(7)),
        guardian=guardian,
        reader=cast(Reader, reader or Opened()),
        homes=homes,
    )


def _listed(*tasks: TaskRecord, revision: int = 5) -> Listed:
    return Listed((), tuple(Entry(ids.task_key(task.id), revision, frame(task)) for task in tasks))


def _settled(world: World) -> World:
    """Until the task has ended, on a day without trouble."""
    for _ in range(200):
        if world.is_settled:
            break
        world.take(world.plain())
    return world


def test_bids_are_asked_for_and_the_task_is_done_by_who_bid_best() -> None:
    world = _settled(World(route="bids"))
    ended = world.judge.ended
    assert ended is not None
    (told,) = ended.rounds
    assert (told.gear, told.asked, told.owner) == ("bids", 2, ended.owner)
    assert {each.said for each in told.answers} == {"bid"}
    assert all(each.score >= 0.0 and each.agent == "echo" for each in told.answers)
    assert told.why == "asked for by the route bids"


def test_offers_and_bids_have_small_frames_and_say_what_they_are() -> None:
    world = World(route="bids")
    kinds = {type(packet.send.body) for packet in world.packets}
    assert kinds == {Offer}
    assert all(len(packet.send.frame) < 1_000 for packet in world.packets)


def test_an_auction_of_a_node_alone_is_over_at_once() -> None:
    ended = _settled(World(agents=(0,), route="bids")).judge.ended
    assert ended is not None
    assert [each.gear for each in ended.rounds] == ["bids"]
    assert ended.rounds[0].owner == ended.home


def test_effects_come_back_beside_the_machine_that_they_are_of() -> None:
    home = Home({B: 1, C: 1})
    auction = Auction(settings=SETTINGS, view=Mesh({}), lapses=Lapses(), rng=Random(7))
    watching = _watching(home, Guardian(me=ME, settings=SETTINGS), auction)
    home.submit(route="bids")
    ((origin, effects),) = watching.ask(home.now)
    assert (origin, len(effects)) == ("auction", 3)
    deadline = auction.next_deadline()
    assert deadline is not None
    assert watching.next_deadline() == deadline
    said = dict(watching.on_tick(instant((deadline - instant(0).mono_ns) / 1e9 + 0.001)))
    assert [type(each).__name__ for each in said["auction"]] == ["Emit"]
    assert watching.ask(home.now) == []


def test_that_a_task_has_ended_is_looked_up_when_its_owner_says_so_and_not_when_a_stranger_does() -> None:
    home = Home({B: 1})
    home.awarded()
    watching = _watching(home, Guardian(me=ME, settings=SETTINGS))
    answer = Answer(1, (), (home.record.id,), ())
    assert watching.on_answer(D, 1, answer, 1, home.now) == [("ledger", [])]
    assert watching.on_answer(B, 1, answer, 1, home.now) == [("ledger", [Read(ids.task_key(home.record.id))])]


def test_an_end_or_an_owner_of_other_work_under_the_id_of_a_task_is_looked_up() -> None:
    home = Home({B: 1})
    home.awarded()
    watching = _watching(home, Guardian(me=ME, settings=SETTINGS))
    look = [("ledger", [Read(ids.task_key(home.record.id))])]
    other = structs.replace(home.record, state=TaskState.DONE, digest=b"other")
    assert watching.on_told(B, Result(other.id, 1, 9, frame(other)), 1, home.now) == look
    taken = structs.replace(home.record, epoch=2, iid="other")
    assert watching.on_told(B, Taken(taken.id, 2, 9, frame(taken)), 1, home.now) == look


def test_tasks_of_a_home_that_is_gone_are_opened_once_taken_up_without_a_write_and_told_of_together() -> None:
    home, reader = Home({}), Opened()
    watching = _watching(home, Guardian(me=ME, settings=SETTINGS), reader=reader)
    tasks = [record(f"k{number}", home=D) for number in range(6)]
    for page in (tasks[:3], tasks[3:], tasks):  # the last is the next sweep
        assert watching.on_listed(_listed(*page), instant(600)) == [("ledger", [])]
    assert len(reader.keys) == 6
    assert (home.ledger.watched, home.ledger.waiting) == (6, 6)
    told = [each for _, effects in watching.on_tick(instant(600 + ADOPTED_S)) for each in effects]
    assert told == [Emit(TasksAdopted(D, 6, "guardian"))]
    assert watching.on_tick(instant(601)) == [("watch", []), ("auction", []), ("ledger", [])]


def test_open_tasks_are_let_go_in_the_next_listing_once_their_home_is_back() -> None:
    home = Home({})
    seen = iter((ALONE, Homes((ME, D), lambda node: True, 60.0)))
    watching = _watching(home, Guardian(me=ME, settings=SETTINGS), homes=lambda now: next(seen))
    tasks = [record(f"k{number}", home=D) for number in range(3)]
    watching.on_listed(_listed(*tasks), instant(600))
    assert watching.on_listed(_listed(), instant(600)) == []  # nobody is looked up where nothing stands
    watching.on_listed(_listed(*tasks[:2]), instant(601))
    assert home.ledger.watched == 1
