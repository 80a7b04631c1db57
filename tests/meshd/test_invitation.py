"""Founding, inviting, joining: what each leaves behind, and how each mistake with a token is told."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.invitation import Invitation, _checksum, accept, found_mesh, make_invitation
from meshd.statedir import Credential, StateDir
from protocol.errors import MeshError
from protocol.identity import Identity, admitted_key, warrant
from protocol.primitives import Instant

NOW = Instant(mono_ns=0, wall_ms=1_700_000_000_000)
URLS = ["nats://10.0.0.1:4222"]


def _later(seconds: float) -> Instant:
    return Instant(mono_ns=0, wall_ms=NOW.wall_ms + int(seconds * 1000))


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[StateDir]:
    opened = StateDir.open(tmp_path / "a")
    found_mesh(opened, now=NOW, name="shop")
    yield opened
    opened.close()


@pytest.fixture
def joiner(tmp_path: Path) -> Iterator[StateDir]:
    opened = StateDir.open(tmp_path / "b")
    yield opened
    opened.close()


@pytest.fixture
def token(founder: StateDir) -> str:
    return make_invitation(founder, urls=URLS, now=NOW).encode()


def _problem(text: str, now: Instant = NOW) -> str:
    with pytest.raises(MeshError) as caught:
        Invitation.decode(text, now=now)
    assert caught.value.code == "bad_join"
    assert caught.value.message.startswith("this is no invitation: ")
    return str(caught.value.fields["problem"])


def _token_of(content: bytes) -> str:
    packed = len(content).to_bytes(2, "big") + content + _checksum(content)
    return "mj1_" + urlsafe_b64encode(packed).decode().rstrip("=")


def test_the_founder_is_admitted_by_the_root_that_it_made(founder: StateDir) -> None:
    mesh = founder.mesh()
    assert mesh is not None
    assert (mesh.name, mesh.founder, mesh.urls) == ("shop", founder.identity().id, ())
    assert admitted_key(root_key=mesh.root_key, proof=founder.admission()) == founder.identity().public_key
    assert len(founder.credential().password) >= 32


def test_a_mesh_without_a_name_is_called_by_its_id(joiner: StateDir) -> None:
    mesh = found_mesh(joiner, now=NOW)
    assert mesh.name == mesh.id


def test_a_founding_that_was_cut_short_goes_on_with_the_same_keys(founder: StateDir) -> None:
    before = founder.mesh()
    (founder.path / "mesh.json").unlink()
    again = found_mesh(founder, now=_later(5), name="shop")
    assert again == before


def test_a_token_comes_back_as_the_invitation_it_was(founder: StateDir) -> None:
    invitation = make_invitation(founder, urls=URLS, now=NOW)
    assert Invitation.decode(invitation.encode(), now=NOW) == invitation
    assert invitation.encode().startswith("mj1_")
    assert len(invitation.encode()) < 600


def test_line_breaks_and_spaces_of_a_terminal_do_not_matter(token: str) -> None:
    wrapped = "  " + "\n ".join(token[i : i + 60] for i in range(0, len(token), 60)) + "\r\n"
    assert Invitation.decode(wrapped, now=NOW).encode() == token


def test_a_node_that_accepts_is_admitted_and_knows_where_the_servers_are(
    founder: StateDir, joiner: StateDir, token: str
) -> None:
    mesh = accept(Invitation.decode(token, now=NOW), joiner, now=NOW)
    assert joiner.mesh() == mesh
    assert mesh.urls == tuple(URLS)
    assert mesh.founder == founder.identity().id
    assert mesh.id == Invitation.decode(token, now=NOW).mesh
    assert admitted_key(root_key=mesh.root_key, proof=joiner.admission()) == joiner.identity().public_key
    assert joiner.credential() == founder.credential()
    assert joiner.root() is None


def test_accepting_again_renews_servers_and_credential_but_not_the_identity(
    founder: StateDir, joiner: StateDir
) -> None:
    accept(make_invitation(founder, urls=URLS, now=NOW), joiner, now=NOW)
    before = joiner.identity().id
    fresh = make_invitation(founder, urls=["nats://b:1"], now=NOW, credential=Credential("u", "p"))
    accept(fresh, joiner, now=NOW)
    mesh = joiner.mesh()
    assert mesh is not None
    assert mesh.urls == ("nats://b:1",)
    assert joiner.credential() == Credential("u", "p")
    assert joiner.identity().id == before
    assert joiner.admission()


def test_a_directory_of_one_mesh_does_not_join_another_and_both_are_named(tmp_path: Path, founder: StateDir) -> None:
    other = StateDir.open(tmp_path / "other")
    own = found_mesh(other, now=NOW)
    invitation = make_invitation(founder, urls=URLS, now=NOW)
    with pytest.raises(MeshError) as caught:
        accept(invitation, other, now=NOW)
    expected = f"belongs to the mesh {own.id}, and the invitation is to the mesh shop ({invitation.mesh})"
    assert caught.value.fields["problem"] == expected
    assert other.mesh() == own
    other.close()


def test_a_founder_does_not_join_its_own_mesh(founder: StateDir) -> None:
    before = founder.mesh()
    with pytest.raises(MeshError, match="itself"):
        accept(make_invitation(founder, urls=URLS, now=NOW), founder, now=NOW)
    assert founder.mesh() == before


def test_only_the_founder_invites(founder: StateDir, joiner: StateDir) -> None:
    with pytest.raises(MeshError) as caught:
        make_invitation(joiner, urls=URLS, now=NOW)
    assert caught.value.code == "denied"
    accept(make_invitation(founder, urls=URLS, now=NOW), joiner, now=NOW)
    with pytest.raises(MeshError) as caught:
        make_invitation(joiner, urls=URLS, now=NOW)
    who = f"only the founder, {founder.identity().id[:8]}, holds the key of the mesh"
    assert caught.value.message == f"inviting from this node ({who}) is not allowed"


@pytest.mark.parametrize("urls", [[], ["nats://a:1"] * 17])
def test_an_invitation_names_some_servers_and_not_too_many(founder: StateDir, urls: list[str]) -> None:
    with pytest.raises(MeshError, match="needs 1 to 16 addresses"):
        make_invitation(founder, urls=urls, now=NOW)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("hello", "a token begins with mj1_"),
        ("mj1", "a token begins with mj1_"),
        ("nats://a:4222", "it is the address of a server, and joining takes a token, which carries the keys as well"),
        (
            "tls://u:p@a:4222",
            "it is the address of a server, and joining takes a token, which carries the keys as well",
        ),
        ("mj2_AAAA", "it is of version 2, and this meshd reads version 1"),
        ("mj1_", "its end is missing; copy it whole"),
        ("mj1_A", "its end is missing; copy it whole"),
        ("mj1_AAAA?", "it was altered: '?' does not occur in a token"),
        ("mj1_AAAAé", "it was altered: 'é' does not occur in a token"),
        ("x" * 5_000, "it has 5000 characters, and none has more than 4096"),
    ],
)
def test_what_is_no_token_is_told_apart(text: str, problem: str) -> None:
    assert _problem(text) == problem


def test_a_token_that_was_cut_off_anywhere_says_so(token: str) -> None:
    for end in range(4, len(token)):
        assert _problem(token[:end]) == "its end is missing; copy it whole"


def test_a_token_with_something_behind_it_was_altered(token: str) -> None:
    assert _problem(token + "AAAA") == "it was altered: its checksum is wrong"


@given(place=st.integers(0, 10_000), letter=st.sampled_from("AZaz09-_"))
def test_a_token_with_one_letter_changed_is_refused_or_the_same(place: int, letter: str) -> None:
    root = Identity(b"r" * 32)
    text = _invitation(root).encode()
    at = 4 + place % (len(text) - 5)  # but for the last, whose low bits carry nothing
    changed = text[:at] + letter + text[at + 1 :]
    if changed == text:
        assert Invitation.decode(changed, now=NOW).encode() == text
    else:
        assert _problem(changed).startswith(("it was altered", "its end is missing"))


def test_an_expired_token_says_since_when(token: str) -> None:
    assert _problem(token, _later(86_400)) == "it expired less than a minute ago by the clock of this host"
    assert _problem(token, _later(86_400 + 90)) == "it expired 1 minute ago by the clock of this host"
    assert _problem(token, _later(86_400 + 3 * 3_600)) == "it expired 3 hours ago by the clock of this host"
    assert _problem(token, _later(5 * 86_400)) == "it expired 4 days ago by the clock of this host"


def test_an_invitation_that_expires_between_reading_and_accepting_is_refused(token: str, joiner: StateDir) -> None:
    invitation = Invitation.decode(token, now=NOW)
    with pytest.raises(MeshError, match="expired"):
        accept(invitation, joiner, now=_later(86_400))
    assert joiner.mesh() is None


def _invitation(root: Identity) -> Invitation:
    issuer = Identity(b"i" * 32)
    return Invitation(
        root_key=root.public_key,
        mesh_name="m",
        founder="f",
        urls=("nats://a:4222",),
        credential=Credential("u", "p"),
        warrant=warrant(root=root, issuer_key=issuer.public_key, not_after_ms=NOW.wall_ms + 1_000),
        issuer_seed=b"i" * 32,
    )


def test_a_token_that_another_root_warrants_is_refused() -> None:
    honest = _invitation(Identity(b"r" * 32))
    forged = msgspec.structs.replace(honest, root_key=Identity(b"x" * 32).public_key)
    assert _problem(forged.encode()) == "it was altered: the mesh it names did not make it"


def test_a_token_whose_end_was_moved_is_refused() -> None:
    honest = _invitation(Identity(b"r" * 32))
    longer = msgspec.structs.replace(honest.warrant, not_after_ms=NOW.wall_ms + 10**9)
    for moved in (longer, msgspec.structs.replace(honest.warrant, not_after_ms=-1)):
        forged = msgspec.structs.replace(honest, warrant=moved)
        assert _problem(forged.encode()) == "it was altered: the mesh it names did not make it"


def test_a_token_with_a_small_order_root_key_or_no_seed_is_refused() -> None:
    honest = _invitation(Identity(b"r" * 32))
    assert (
        _problem(msgspec.structs.replace(honest, root_key=b"\0" * 32).encode())
        == "it was altered: its keys are no keys"
    )
    assert _problem(msgspec.structs.replace(honest, issuer_seed=b"").encode()) == "it was altered: its keys are no keys"


@pytest.mark.parametrize("urls", [(), ("http://a",), ("nats://a:1",) * 17])
def test_a_token_with_no_usable_server_is_refused(urls: tuple[str, ...]) -> None:
    assert _problem(msgspec.structs.replace(_invitation(Identity(b"r" * 32)), urls=urls).encode()).startswith(
        "it was altered"
    )


@given(st.binary(max_size=200))
def test_any_content_with_a_right_checksum_is_refused_with_a_sentence(content: bytes) -> None:
    assert _problem(_token_of(content)).startswith("it was altered")


def test_the_token_is_read_by_msgpack_alone(token: str) -> None:
    packed = urlsafe_b64decode(token[4:] + "=" * (-(len(token) - 4) % 4))
    fields = msgpack.unpackb(packed[2:-4])
    assert fields[1] == "shop"
    assert fields[3] == URLS


@pytest.mark.parametrize("letter", ["A", "B", "_"])
def test_a_token_with_one_letter_behind_it_was_altered(token: str, letter: str) -> None:
    assert _problem(token + letter).startswith("it was altered")
