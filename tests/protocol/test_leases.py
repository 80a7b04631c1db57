"""How long a lease is: by the store as it is, and never longer than whoever reads the record thinks."""

from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.leases import KEPT_S, RENEWALS, SHRINK, SPARE, STRETCH_MAX, Lease, Stretch, longest_s
from protocol.primitives import NS_PER_S
from tests.protocol.conversation import instant

LEAST_S = 3.0
NOW = instant(0)


def test_a_lease_is_six_times_the_slowest_write_and_four_times_what_it_was_at_most() -> None:
    stretch = Stretch()
    assert stretch.lease_s(LEAST_S, NOW) == LEAST_S
    stretch.took(0.4, NOW)
    assert stretch.lease_s(LEAST_S, NOW) == LEAST_S
    stretch.took(1.0, NOW)
    stretch.took(0.1, NOW)
    assert stretch.lease_s(LEAST_S, NOW) == SPARE * RENEWALS
    stretch.took(9.0, NOW)
    assert stretch.lease_s(LEAST_S, NOW) == STRETCH_MAX * LEAST_S


def test_a_slow_write_is_forgotten_after_a_while_with_or_without_another() -> None:
    stretch = Stretch()
    stretch.took(1.0, NOW)
    assert stretch.lease_s(LEAST_S, instant(KEPT_S - 0.1)) == SPARE * RENEWALS
    assert stretch.lease_s(LEAST_S, instant(KEPT_S)) == LEAST_S
    stretch.took(0.7, instant(KEPT_S))
    assert round(stretch.lease_s(LEAST_S, instant(KEPT_S)), 3) == 4.2


def test_no_lease_is_longer_than_a_record_may_say() -> None:
    assert longest_s(600.0) == limits.LEASE_MS_MAX / 1_000
    stretch = Stretch()
    stretch.took(600.0, NOW)
    assert stretch.lease_s(400.0, NOW) == limits.LEASE_MS_MAX / 1_000


@given(
    st.lists(
        st.tuples(
            st.floats(0.01, 5.0), st.floats(0.0, 4.0), st.sampled_from(["stands", "lost", "stood, and nobody said so"])
        ),
        max_size=30,
    )
)
def test_an_owner_never_thinks_its_lease_longer_than_the_record_does(
    writes: list[tuple[float, float, str]],
) -> None:
    stretch, lease, at_s = Stretch(), Lease(LEAST_S, LEAST_S, sure=NOW.mono_ns), 0.0
    in_record = [LEAST_S]  # the leases of the last write that stood, and of the one under way
    for pause_s, took_s, outcome in writes:
        at_s += pause_s
        written_s = lease.renewing(stretch.lease_s(LEAST_S, instant(at_s)), instant(at_s))
        assert LEAST_S <= written_s <= longest_s(LEAST_S)
        assert lease.lasts_s <= min(*in_record, written_s)
        assert lease.lasts_s >= min(SHRINK * in_record[0], LEAST_S)
        at_s += took_s
        if outcome == "stands":
            stretch.took(took_s, instant(at_s))
            lease.renewed(written_s)
            in_record = [written_s]
            assert (lease.lasts_s, lease.ends) == (written_s, lease.sure + int(written_s * NS_PER_S))
        else:
            lease.not_renewed()
            if outcome != "lost":
                in_record = [written_s]
        assert lease.lasts_s <= in_record[0]
