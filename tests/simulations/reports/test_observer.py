"""The observer: watching changes nothing, faults and their detection are timed, what was sent adds up."""

from msgspec import structs

from protocol.events import AuctionOpened, TaskAwarded, TaskSubmitted
from simulations.reports.observer import SIDES_MAX, SPANS_MAX, Observer
from simulations.reports.shapes import RunReport
from simulations.reports.usage import Tasks
from simulations.scenario import named, parsed
from simulations.seen import Span
from simulations.world import World
from tests.simulations.reports.conftest import small


def test_watching_a_world_changes_nothing_in_it() -> None:
    observer = Observer(small())
    watched = World(small(), seed=5, watch=(observer.begin,)).run()
    assert watched.digest == World(small(), seed=5).run().digest


def test_a_crash_is_timed_from_its_fault_to_who_noticed(passing: RunReport) -> None:
    suspected, found, known = passing.detection
    assert (suspected.count, found.count, known.count) == (1, 1, 2)
    assert suspected.p50_s is not None
    assert found.p50_s is not None
    assert 0 < suspected.p50_s < found.p50_s < 12


def test_faults_stand_with_their_beginning_and_end(passing: RunReport) -> None:
    assert [(fault.kind, fault.nodes, fault.from_s, fault.until_s) for fault in passing.faults] == [
        ("crash", ("n2",), 6.0, 18.0),
        ("partition", (), 20.0, 22.0),
    ]
    assert [fault.groups for fault in passing.faults] == [(), (("n1", "record"), ("n2-n4",))]


def test_every_message_is_counted_once_by_its_kind(passing: RunReport) -> None:
    assert sum(kind.messages for kind in passing.traffic.kinds) == passing.messages
    assert all(kind.bytes is not None and kind.bytes > kind.messages for kind in passing.traffic.kinds)
    assert len(passing.traffic.messages_node_s) == len(passing.agreement.share)


def test_work_is_followed_from_its_submit_to_its_result(passing: RunReport) -> None:
    assert passing.work is not None
    stages = {stage.name: stage.tasks for stage in passing.work.stages}
    assert stages["submitted"] == stages["awarded"] == stages["done"] == 6
    assert passing.work.times[1].count == 6


def test_a_task_whose_submitter_never_heard_that_it_stands_was_submitted_and_one_that_was_only_offered_was_not() -> (
    None
):
    tasks = Tasks()
    tasks.on(AuctionOpened("offered", "", 1, "bids", ("n2",)))
    tasks.on(TaskSubmitted("heard", "", "", "work@1", "operator"))
    tasks.on(TaskAwarded("unheard", "", 1, "n2", "gossip"))
    work = tasks.shown()
    assert work is not None
    assert (work.stages[0].name, work.stages[0].tasks) == ("submitted", 2)


def test_more_faults_than_can_be_drawn_are_counted() -> None:
    observer = Observer(small())
    observer.begin(World(small(), seed=1))
    for number in range(SPANS_MAX + 5):
        observer.on(Span("stall", (), is_on=True, number=number))
        observer.on(Span("stall", (), is_on=False, number=number))
    assert len(observer.spans) == SPANS_MAX
    assert observer.spans_left_out == 5


def test_of_two_faults_of_a_kind_at_once_each_is_drawn_to_its_own_end() -> None:
    fault = '[[fault]]\nkind = "pause"\nnode = "n2"\n'
    text = f'about = "x"\nnodes = 2\nrun_s = 12\n{fault}at_s = 3\nfor_s = 8\n{fault}at_s = 5\nfor_s = 1\n'
    observer = Observer(scenario := parsed(text, origin="here"))
    World(scenario, seed=1, watch=(observer.begin,)).run()
    assert [(span.from_s, span.until_s) for span in observer.spans] == [(3.0, 11.0), (5.0, 6.0)]


def test_a_large_mesh_is_drawn_with_the_nodes_that_faults_name() -> None:
    flapping = named("home-crash")
    fault = structs.replace(small().fault[0], node="n900")
    large = structs.replace(flapping, nodes=1_000, fault=(fault,))
    shown = Observer(large).views.standings(large.names, 0.0).nodes
    assert len(shown) == 200
    assert "n900" in shown


def test_the_sides_of_many_large_partitions_are_bounded_and_those_left_out_are_counted() -> None:
    observer = Observer(small())
    observer.begin(World(small(), seed=1))
    sides = (("n1",), tuple(f"n{number}" for number in range(3, 2_048, 2)))
    for number in range(SPANS_MAX):
        observer.on(Span("partition", (), is_on=True, number=number, sides=sides))
    kept = [span.groups for span in observer.spans if span.groups]
    assert set(kept) == {sides}
    assert sum(len(side) for groups in kept for side in groups) <= SIDES_MAX
    assert len(kept) + observer.sides_left_out == SPANS_MAX


def test_sides_that_have_no_room_take_none_from_smaller_ones_after_them() -> None:
    observer = Observer(small())
    observer.begin(World(small(), seed=1))

    def strike(number: int, size: int) -> None:
        sides = (("n1",), tuple(f"n{each}" for each in range(2, size + 1)))
        observer.on(Span("partition", (), is_on=True, number=number, sides=sides))

    strike(0, SIDES_MAX - 10)
    strike(1, 1_000)
    strike(2, 5)
    assert [bool(span.groups) for span in observer.spans] == [True, False, True]
    assert observer.sides_left_out == 1
