"""Keys: which public keys are taken, what a signature proves, and who belongs to a mesh."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import identity
from protocol.identity import (
    Admission,
    Identity,
    admission,
    admitted_key,
    is_acceptable,
    is_signed,
    warrant,
)
from tests.protocol.sealing import ALICE, BOB, MALLORY, NOW, ROOT, proof_of

# Arithmetic of the curve of RFC 8032, section 5.1, as slow and plain as it gets.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
I = pow(2, (P - 1) // 4, P)  # noqa: E741 - the name that the specification gives the root of -1

Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def _add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2 % P
    x3 = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y3 = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x3 % P, y3 % P


def _times(count: int, point: Point) -> Point:
    total = NEUTRAL
    while count:
        if count & 1:
            total = _add(total, point)
        point, count = _add(point, point), count >> 1
    return total


def _x_of(y: int, sign: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * I % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return x if x % 2 == sign else P - x


def _decoded(encoded: bytes) -> Point:
    number = int.from_bytes(encoded, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    x = _x_of(y, sign)
    assert x is not None
    return x, y


def _encoded(point: Point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _torsion() -> list[Point]:
    """The eight points of small order: multiples of the main order's times any point that has all of it."""
    for y in range(2, 100):
        x = _x_of(y, 0)
        if x is None:
            continue
        generator = _times(L, (x, y))
        points = [_times(count, generator) for count in range(8)]
        if len(set(points)) == 8:
            return points
    raise AssertionError("the curve has lost its torsion")


SMALL = _torsion()


def test_the_curve_of_this_test_is_the_one_that_keys_live_on() -> None:
    alice = _decoded(ALICE.public_key)
    assert _encoded(alice) == ALICE.public_key
    assert _times(L, alice) == NEUTRAL
    assert all(_times(8, point) == NEUTRAL for point in SMALL)


@pytest.mark.parametrize("point", SMALL, ids=range(8))
def test_a_key_of_small_order_is_refused(point: Point) -> None:
    assert not is_acceptable(_encoded(point))


@pytest.mark.parametrize("point", SMALL[1:], ids=range(1, 8))
def test_a_key_with_a_small_part_is_refused(point: Point) -> None:
    assert not is_acceptable(_encoded(_add(_decoded(ALICE.public_key), point)))


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", range(P, 2**255))
def test_a_key_that_is_not_written_canonically_is_refused(y: int, sign: int) -> None:
    assert not is_acceptable((y | sign << 255).to_bytes(32, "little"))


def test_the_neutral_point_with_a_sign_is_refused() -> None:
    assert not is_acceptable((1 | 1 << 255).to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    assert not is_acceptable(ALICE.public_key.ljust(64, b"\0")[:length])


@given(st.binary(min_size=32, max_size=32))
def test_any_seed_makes_a_key_that_is_taken(seed: bytes) -> None:
    node = Identity(seed)
    assert is_acceptable(node.public_key)
    assert is_signed(public_key=node.public_key, message=b"said", signature=node.sign(b"said"))


@pytest.mark.parametrize("point", SMALL, ids=range(8))
def test_under_a_small_key_no_forgery_verifies(point: Point) -> None:
    """With A and R of small order and S = 0 the plain equation holds for one message in eight."""
    key = _encoded(point)
    for r_point in SMALL:
        forged = _encoded(r_point) + bytes(32)
        assert not any(is_signed(public_key=key, message=bytes((n,)), signature=forged) for n in range(32))


@given(st.binary(max_size=200))
def test_a_signature_cannot_be_turned_into_another(message: bytes) -> None:
    signature = ALICE.sign(message)
    scalar = int.from_bytes(signature[32:], "little")
    for other in range(scalar + L, 2**256, L):
        changed = signature[:32] + other.to_bytes(32, "little")
        assert not is_signed(public_key=ALICE.public_key, message=message, signature=changed)


@given(message=st.binary(max_size=100), bit=st.integers(0, 511))
def test_a_changed_signature_or_message_or_key_does_not_verify(message: bytes, bit: int) -> None:
    signature = bytearray(ALICE.sign(message))
    signature[bit // 8] ^= 1 << bit % 8
    assert not is_signed(public_key=ALICE.public_key, message=message, signature=bytes(signature))
    assert not is_signed(public_key=ALICE.public_key, message=message + b"\0", signature=ALICE.sign(message))
    assert not is_signed(public_key=BOB.public_key, message=message, signature=ALICE.sign(message))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_does_not_verify(length: int) -> None:
    signature = (ALICE.sign(b"said") + b"\0")[:length]
    assert not is_signed(public_key=ALICE.public_key, message=b"said", signature=signature)


# --- admission


def _admitted(proof: bytes) -> bytes | None:
    return admitted_key(root_key=ROOT.public_key, proof=proof)


def test_a_node_that_an_issuer_admitted_belongs_to_the_mesh() -> None:
    granted = warrant(root=ROOT, issuer_key=BOB.public_key, not_after_ms=NOW.wall_ms)
    proof = admission(issuer=BOB, root_key=ROOT.public_key, node_key=ALICE.public_key, warrant=granted)
    assert _admitted(proof) == ALICE.public_key
    assert admitted_key(root_key=MALLORY.public_key, proof=proof) is None


def test_nobody_admits_itself_or_extends_a_warrant() -> None:
    own = warrant(root=MALLORY, issuer_key=MALLORY.public_key, not_after_ms=NOW.wall_ms)
    assert (
        _admitted(admission(issuer=MALLORY, root_key=ROOT.public_key, node_key=ALICE.public_key, warrant=own)) is None
    )
    granted = warrant(root=ROOT, issuer_key=BOB.public_key, not_after_ms=NOW.wall_ms)
    stolen = admission(issuer=MALLORY, root_key=ROOT.public_key, node_key=MALLORY.public_key, warrant=granted)
    assert _admitted(stolen) is None
    longer = msgspec.structs.replace(granted, not_after_ms=granted.not_after_ms + 1)
    assert _admitted(admission(issuer=BOB, root_key=ROOT.public_key, node_key=ALICE.public_key, warrant=longer)) is None
    negative = msgspec.structs.replace(granted, not_after_ms=-1)
    assert (
        _admitted(admission(issuer=BOB, root_key=ROOT.public_key, node_key=ALICE.public_key, warrant=negative)) is None
    )


def test_an_admission_names_one_key_and_no_other() -> None:
    shown = msgspec.msgpack.decode(proof_of(ALICE), type=Admission)
    swapped = msgspec.structs.replace(shown, node_key=MALLORY.public_key)
    assert _admitted(msgspec.msgpack.encode(swapped)) is None


@pytest.mark.parametrize("point", SMALL, ids=range(8))
def test_a_small_key_is_admitted_by_nobody(point: Point) -> None:
    assert (
        _admitted(proof_of(Identity(b"\x05" * 32)).replace(Identity(b"\x05" * 32).public_key, _encoded(point))) is None
    )
    granted = warrant(root=ROOT, issuer_key=ROOT.public_key, not_after_ms=NOW.wall_ms)
    proof = admission(issuer=ROOT, root_key=ROOT.public_key, node_key=_encoded(point), warrant=granted)
    assert _admitted(proof) is None


@given(st.binary(max_size=300))
def test_noise_admits_nobody_and_raises_nothing(noise: bytes) -> None:
    assert _admitted(noise) is None
    assert _admitted(proof_of(ALICE)[:30] + noise) is None


@given(bit=st.integers(min_value=0))
def test_a_changed_admission_admits_nobody(bit: int) -> None:
    changed = bytearray(proof_of(ALICE))
    bit %= 8 * len(changed)
    changed[bit // 8] ^= 1 << bit % 8
    assert _admitted(bytes(changed)) is None


def test_a_long_proof_is_refused_unread_so_that_strangers_cannot_fill_the_memory() -> None:
    before = identity._proven_key.cache_info().currsize
    assert _admitted(proof_of(ALICE) + bytes(60_000)) is None
    assert identity._proven_key.cache_info().currsize == before
