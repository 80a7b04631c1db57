"""The SDK without a daemon: what handlers take and give, and how they reach each other."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.sdk import Agent, Context, MeshRefusal, TaskError
from protocol import limits

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


class Offer(msgspec.Struct):
    """An offer, as a Struct."""

    name: str
    price: float = 1.0


@dataclass
class Parcel:
    """A parcel, as a dataclass."""

    to: str
    day: date


class Profile(TypedDict):
    """A profile, as a TypedDict."""

    orders: int


def handling(function: Any) -> Agent:
    agent = Agent("test")
    agent.handles("do@1")(function)
    return agent


async def done(function: Any, input: object = None) -> Any:
    return await handling(function).handle_locally("do@1", input)


# --- in


@given(JSON)
async def test_a_single_parameter_takes_the_input_as_it_is(value: object) -> None:
    async def one(document: Any) -> Any:
        return document

    assert await done(one, value) == value


async def test_several_parameters_take_the_fields_of_an_object() -> None:
    def two(ctx: Context, customer: str, count: int = 2) -> str:
        return customer * count

    assert await done(two, {"customer": "ab"}) == "abab"
    assert await done(two, {"count": 3, "customer": "c"}) == "ccc"


async def test_no_input_leaves_every_parameter_at_its_default() -> None:
    assert await done(lambda: 1) == 1

    def one(count: int = 5) -> int:
        return count

    def two(count: int = 5, more: int = 1) -> int:
        return count + more

    assert (await done(one), await done(two), await done(two, {})) == (5, 6, 6)


@pytest.mark.parametrize(
    ("input", "said"),
    [
        ({"customer": 3, "count": 1}, "do@1: customer: Expected str, got int"),
        ({"customer": "a", "count": 0}, "do@1: count: Expected int >= 1"),
        ({"customer": "a"}, "do@1 needs count"),
        ({"customer": "a", "count": 1, "colour": "red"}, "do@1 takes customer, count, and was given 'colour'"),
        (["a", 1], "do@1 takes an object with customer, count, not a list"),
        (None, "do@1 needs customer, count"),
        ("c-17", "do@1 takes an object with customer, count, not text"),
    ],
)
async def test_an_input_that_does_not_fit_names_the_argument(input: object, said: str) -> None:
    def two(customer: str, count: Annotated[int, msgspec.Meta(ge=1)]) -> None: ...

    with pytest.raises(TaskError) as caught:
        await done(two, input)
    assert (caught.value.message, caught.value.retry) == (said, False)


async def test_a_handler_without_parameters_takes_nothing() -> None:
    def none(ctx: Context) -> int:
        return 1

    assert await done(none, {}) == 1
    with pytest.raises(TaskError, match="do@1 takes an object with nothing, not text"):
        await done(none, "x")


async def test_typed_values_come_in_as_their_types_and_go_out_as_json() -> None:
    def move(offer: Offer, parcel: Parcel, profile: Profile, days: set[date]) -> list[Any]:
        assert isinstance(offer, Offer)
        assert isinstance(parcel, Parcel)
        assert isinstance(parcel.day, date)
        return [offer, parcel, profile, sorted(days), b"ab", (1, 2)]

    given = {
        "offer": {"name": "x"},
        "parcel": {"to": "here", "day": "2026-01-02"},
        "profile": {"orders": 1},
        "days": ["2026-01-03"],
    }
    assert await done(move, given) == [
        {"name": "x", "price": 1.0},
        {"to": "here", "day": "2026-01-02"},
        {"orders": 1},
        ["2026-01-03"],
        "YWI=",
        [1, 2],
    ]


async def test_keys_that_are_numbers_survive_json() -> None:
    def swap(counts: dict[int, str]) -> dict[int, int]:
        return {len(text): number for number, text in counts.items()}

    assert await done(swap, {"1": "abc"}) == {"3": 1}


async def test_a_field_deep_inside_is_named_when_it_does_not_fit() -> None:
    def take(offers: list[Offer]) -> None: ...

    with pytest.raises(TaskError, match=r"do@1: offers: Expected str, got int - at \$\[1\].name"):
        await done(take, [{"name": "x"}, {"name": 3}])


# --- out


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("high", "do@1: the result does not fit its type hint: Expected float, got str"),
        (None, "do@1: the result does not fit its type hint: Expected float, got null"),
        (float("inf"), "a number cannot be written as JSON: "),
        (object(), "a value of type object cannot be written as JSON: "),
        ("\ud800", "text cannot be written as JSON: "),
    ],
    ids=["text", "null", "infinite", "object", "surrogate"],
)
async def test_a_result_that_does_not_fit_is_refused(result: object, said: str) -> None:
    def give() -> float:
        return result  # type: ignore[return-value] # the fault that is looked for

    with pytest.raises(TaskError) as caught:
        await done(give)
    assert caught.value.message.startswith(said)
    assert not caught.value.retry


async def test_parts_are_the_result_unless_a_value_is_returned() -> None:
    def plain(count: int) -> Iterator[int]:
        yield from range(count)

    async def slow(count: int) -> AsyncIterator[str]:
        for number in range(count):
            yield str(number)

    def total(count: int) -> Any:
        yield from range(count)
        return count

    assert await done(plain, 3) == [0, 1, 2]
    assert await done(slow, 2) == ["0", "1"]
    assert await done(total, 3) == 3


async def test_a_part_that_does_not_fit_is_refused() -> None:
    def wrong() -> Iterator[int]:
        yield "one"  # type: ignore[misc] # the fault that is looked for

    with pytest.raises(TaskError, match="Expected int, got str"):
        await done(wrong)


# --- registering


def test_a_capability_is_a_name_and_a_major_version() -> None:
    agent = Agent("test")
    for wrong in ("scoring", "scoring@", "Scoring@1", "scoring@01", "scoring@1\n", "@1"):
        with pytest.raises(ValueError, match="write name@major"):
            agent.handles(wrong)


def test_a_capability_has_one_handler() -> None:
    agent = handling(len)
    with pytest.raises(ValueError, match="do@1 is handled by len already"):
        agent.handles("do@1")


def test_schemas_come_from_the_signature() -> None:
    async def score(ctx: Context, customer: str, limits: list[int]) -> float:
        return 0.0

    schema = handling(score).schema("do@1")
    assert schema.takes == {"customer": {"type": "string"}, "limits": {"type": "array", "items": {"type": "integer"}}}
    assert schema.gives == {"type": "number"}


def test_a_type_that_json_cannot_carry_is_refused_by_name() -> None:
    class Own: ...

    def take(own: Own) -> None: ...

    with pytest.raises(TypeError, match="do@1: own: JSON cannot carry a Own"):
        handling(take).schema("do@1")


def test_a_decorated_function_stays_what_it_was() -> None:
    agent = Agent("test")

    @agent.handles("twice@1")
    def twice(number: int) -> int:
        return number * 2

    assert twice(4) == 8
    assert agent.capabilities == ("twice@1",)


# --- without a daemon


async def test_a_call_reaches_this_agent_and_the_others_given() -> None:
    one, two = Agent("one"), Agent("two")

    @one.handles("outer@1")
    async def outer(ctx: Context, name: str) -> str:
        return f"{await ctx.call('inner@1', name)} {await ctx.call('own@1')}"

    @one.handles("own@1")
    def own() -> str:
        return "own"

    @two.handles("inner@1")
    async def inner(ctx: Context, name: str) -> str:
        await ctx.step("named", name=name)
        ctx.progress({"done": 1})
        return name.upper()

    assert await one.handle_locally("outer@1", "a", others=[two]) == "A own"
    with pytest.raises(MeshRefusal, match=r"no agent here handles inner@1; give one with others=\[...\]") as caught:
        await one.handle_locally("outer@1", "a")
    assert caught.value.code == "no_agent"


async def test_a_submit_gives_an_id_or_with_wait_the_result_and_a_key_only_runs_once() -> None:
    agent, ran = Agent("test"), []

    @agent.handles("child@1")
    def child(number: int) -> int:
        ran.append(number)
        return number * 10

    @agent.handles("parent@1")
    async def parent(ctx: Context) -> list[Any]:
        return [
            await ctx.submit("child@1", 1, wait=True),
            await ctx.submit("child@1", 2, key="k"),
            await ctx.submit("child@1", 2, key="k", wait=True),
        ]

    result, name, again = await agent.handle_locally("parent@1")
    assert (result, again) == (10, 20)
    assert name.startswith("local-")
    assert ran == [1, 2]


async def test_a_failure_of_who_was_called_is_a_refusal() -> None:
    agent = Agent("test")

    @agent.handles("inner@1")
    def inner(kind: str) -> None:
        raise TaskError("no such customer")

    @agent.handles("outer@1")
    async def outer(ctx: Context) -> str:
        try:
            await ctx.call("inner@1", "x")
        except MeshRefusal as refusal:
            return f"{refusal.code}: {refusal}"
        return ""

    assert await agent.handle_locally("outer@1") == "agent_failed: no such customer"


async def test_a_call_that_takes_too_long_is_a_refusal() -> None:
    agent = Agent("test")

    @agent.handles("never@1")
    async def never() -> None:
        await asyncio.Event().wait()

    @agent.handles("outer@1")
    async def outer(ctx: Context) -> None:
        await ctx.call("never@1", timeout_s=0.01)

    with pytest.raises(MeshRefusal, match=r"never@1 did not answer within 0.01 s") as caught:
        await agent.handle_locally("outer@1")
    assert caught.value.code == "timed_out"


async def test_what_a_handler_raises_is_raised() -> None:
    def wrong() -> None:
        raise LookupError("no row")

    with pytest.raises(LookupError, match="no row"):
        await done(wrong)


async def test_a_capability_that_is_not_handled_names_those_that_are() -> None:
    with pytest.raises(TaskError, match="test does not handle other@1; it handles do@1"):
        await handling(len).handle_locally("other@1")


async def test_object_in_a_hint_is_any_plain_value() -> None:
    agent = Agent("anything")

    @agent.handles("keep@1")
    def keep(value: object, rest: dict[str, object], maybe: list[object] | None = None) -> dict[str, object]:
        return {"value": value, "rest": rest, "maybe": maybe}

    given = {"value": [1, "two"], "rest": {"a": None}, "maybe": [{}, 3]}
    assert await agent.handle_locally("keep@1", given) == given
    with pytest.raises(TaskError, match="rest"):
        await agent.handle_locally("keep@1", {"value": 1, "rest": []})


# --- events


def ear(heard: list[Any], *topics: str) -> Agent:
    """An agent that remembers what it hears on these topics."""
    agent = Agent("ear")
    for topic in topics:

        @agent.on(topic)
        async def hear(ctx: Context, value: Any) -> None:
            heard.append((ctx.topic, ctx.publisher, value))

    return agent


def mouth(*said: tuple[str, Any]) -> Agent:
    """An agent that publishes this with every task."""
    agent = Agent("mouth")

    @agent.handles("speak@1")
    async def speak(ctx: Context) -> str:
        for topic, value in said:
            await ctx.publish(topic, value)
        return "said"

    return agent


async def test_events_go_to_who_listens_in_the_order_in_which_they_were_said() -> None:
    heard: list[Any] = []
    agent = mouth(("sales.price", 1), ("sales.other", 2), ("sales.price", Offer("a")))
    assert await agent.handle_locally("speak@1", others=[ear(heard, "sales.price")]) == "said"
    assert heard == [("sales.price", "mouth", 1), ("sales.price", "mouth", {"name": "a", "price": 1.0})]


async def test_a_broadcast_to_a_domain_is_heard_on_its_topic_for_all() -> None:
    heard: list[Any] = []
    agent = Agent("caller")

    @agent.handles("warn@1")
    async def warn(ctx: Context) -> None:
        await ctx.broadcast("sales", "closing")

    await agent.handle_locally("warn@1", others=[ear(heard, "sales.all", "support.all")])
    assert heard == [("sales.all", "caller", "closing")]


async def test_a_handler_of_events_gets_arguments_that_fit_its_hints() -> None:
    agent, days = mouth(("sales.parcel", {"to": "Ann", "day": "2031-02-03"})), []

    @agent.on("sales.parcel")
    def hear(to: str, day: date) -> None:
        days.append((to, day))

    await agent.handle_locally("speak@1")
    assert days == [("Ann", date(2031, 2, 3))]
    assert agent.schema("sales.parcel").needs == ("to", "day")
    assert agent.is_blocking("sales.parcel")


async def test_what_a_handler_of_events_does_not_take_is_named() -> None:
    agent = mouth(("sales.count", "many"))

    @agent.on("sales.count")
    async def hear(count: int) -> None: ...

    with pytest.raises(TaskError, match=r"sales\.count: count: Expected int, got str"):
        await agent.handle_locally("speak@1")


async def test_handlers_that_publish_in_a_circle_are_stopped_as_on_a_mesh() -> None:
    agent, rounds = mouth(("sales.round", 0)), []

    @agent.on("sales.round")
    async def again(ctx: Context, value: int) -> None:
        rounds.append(value)
        await ctx.publish("sales.round", value + 1)

    with pytest.raises(MeshRefusal, match="this event would be number 9 that one led to; the limit is 8"):
        await agent.handle_locally("speak@1")
    assert rounds == list(range(limits.HOPS_MAX + 1))


@pytest.mark.parametrize("topic", ["", "sales", "sales.", "sales.a.b", "sales.*", "Sales.a", "sales.a b"])
async def test_what_is_no_topic_is_refused_with_the_rule(topic: str) -> None:
    with pytest.raises(ValueError, match=r"is no topic; write domain\.name, each 1 to 32 of a-z 0-9 _ -"):
        Agent("a").on(topic)
    with pytest.raises(MeshRefusal, match=r"is not a topic; write domain\.name"):
        await mouth((topic, 1)).handle_locally("speak@1")


def test_one_function_handles_a_topic() -> None:
    agent = ear([], "sales.price")
    with pytest.raises(ValueError, match=r"sales\.price is handled by hear already"):
        agent.on("sales.price")
    assert (agent.capabilities, agent.topics) == ((), ("sales.price",))


async def test_a_call_to_a_named_agent_goes_to_no_other() -> None:
    outer, first, second = Agent("outer"), Agent("first"), Agent("second")
    for agent in (first, second):
        agent.handles("name@1")(lambda name=agent.name: name)

    @outer.handles("ask@1")
    async def ask(ctx: Context, name: str) -> object:
        try:
            return await ctx.call("name@1", agent=name)
        except MeshRefusal as refusal:
            return refusal.code

    answers = [await outer.handle_locally("ask@1", name, others=[first, second]) for name in ("second", "", "third")]
    assert answers == ["second", "first", "unknown_agent"]
