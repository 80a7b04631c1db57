"""The watcher's side put together: an auction from the wish to the award, over real nodes and frames."""

from random import Random

from protocol.auction import Auction
from protocol.owners import Owners
from protocol.performance import Lapses
from protocol.watch import Watch
from protocol.watching import Watching
from protocol.wire.auction import Offer
from tests.explore import World
from tests.protocol.conversation import instant
from tests.protocol.work import SETTINGS, B, C, Home, Mesh


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
    watching = Watching(ledger=home.ledger, watch=Watch(settings=SETTINGS, owners=Owners()), auction=auction)
    home.submit(route="bids")
    ((origin, effects),) = watching.ask(home.now)
    assert (origin, len(effects)) == ("auction", 3)
    deadline = auction.next_deadline()
    assert deadline is not None
    assert watching.next_deadline() == deadline
    said = dict(watching.on_tick(instant((deadline - instant(0).mono_ns) / 1e9 + 0.001)))
    assert [type(each).__name__ for each in said["auction"]] == ["Emit"]
    assert watching.ask(home.now) == []
