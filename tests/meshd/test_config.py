"""Configuration: which source wins, and how each mistake is told."""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.config import FLAGS, KEPT, KEPT_FILES, Given, load, look, with_kept
from meshd.settings import rows
from protocol.errors import MeshError
from protocol.presets import PRESETS


def _written(folder: Path, text: str, name: str = "meshd.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def _refusal(**sources: object) -> MeshError:
    with pytest.raises(MeshError) as caught:
        load(**sources)  # type: ignore[arg-type]  # each test gives one source of its own type
    return caught.value


def test_without_any_source_every_setting_is_its_default() -> None:
    config = load()
    assert {one.origin for one in config.origins.values()} == {"default"}
    assert set(config.origins) == {row.key for row in rows()}


def test_flags_win_over_environment_over_later_files_over_earlier_ones(tmp_path: Path) -> None:
    first = _written(
        tmp_path, '[node]\nname = "file1"\nregion = "file1"\ndomain = "file1"\n[tasks]\nlease_s = 9', "1.toml"
    )
    second = _written(tmp_path, '[node]\nname = "file2"\nregion = "file2"\ndomain = "file2"', "2.toml")
    environ = {"MESHD_NODE__NAME": "env", "MESHD_NODE__REGION": "env"}
    config = load(files=[first, second], environ=environ, flags={"node.name": "flag", "node.domain": None})
    node = config.settings.node
    assert (node.name, node.region, node.domain) == ("flag", "env", "file2")
    assert config.settings.tasks.lease_s == 9.0
    origins = {key: one.origin for key, one in config.origins.items()}
    assert origins["node.name"] == "flag --name"
    assert origins["node.region"] == "environment MESHD_NODE__REGION"
    assert origins["node.domain"] == f"file {second}:4"
    assert origins["tasks.lease_s"] == f"file {first}:6"
    assert origins["tasks.deadline_s"] == "default"


def test_text_of_the_environment_becomes_numbers_truth_values_and_lists() -> None:
    environ = {
        "MESHD_TASKS__LEASE_S": "4.5",
        "MESHD_INSECURE": "true",
        "MESHD_NATS__URLS": "nats://a:4222, tls://b",
    }
    settings = load(environ=environ).settings
    assert settings.tasks.lease_s == 4.5
    assert settings.insecure is True
    assert settings.nats.urls == ("nats://a:4222", "tls://b")


def test_a_preset_gives_what_nothing_else_says_and_is_named_as_the_origin(tmp_path: Path) -> None:
    path = _written(tmp_path, '[membership]\npreset = "wan"\nsuspicion_s_min = 7')
    config = load(files=[path])
    assert config.settings.membership.suspicion_s_min == 7
    assert config.settings.membership.probe_timeout_s == PRESETS["wan"].probe_timeout_s
    assert config.origins["membership.probe_timeout_s"].origin == "preset wan"
    assert config.origins["membership.suspicion_s_min"].origin == f"file {path}:3"
    assert config.origins["membership.verifiers"].origin == "default"


def test_every_preset_that_can_be_chosen_is_there() -> None:
    for preset, values in PRESETS.items():
        membership = load(environ={"MESHD_MEMBERSHIP__PRESET": preset}).settings.membership
        assert msgspec.structs.asdict(membership) == msgspec.structs.asdict(values) | {"preset": preset}


def test_names_that_are_no_settings_are_left_alone() -> None:
    ours = {"MESHD_DIR": "/x", "MESHD_TOKEN": "t", "MESHD_FLAGS": "", "MESHD_AGENT": "a", "MESH": "1"}
    service = {"MESHD_PORT_4222_TCP_ADDR": "10.0.0.1", "MESHD_PORT": "tcp://10.0.0.1:4222", "MESHD_SERVICE_HOST": "x"}
    environ = ours | service | {"MESHD_API_SERVICE_PORT_HTTP": "80"}
    assert {one.origin for one in load(environ=environ).origins.values()} == {"default"}


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("[node]\nnmae = 'a'", "node.nmae", "no such setting; did you mean node.name?"),
        ("lease_s = 3", "lease_s", "no such setting; did you mean tasks.lease_s?"),
        ("[quux]\nx = 1", "quux", "no such setting"),
        ("node = 3", "node", "is a table, and was given a value"),
        ("'node.name' = 'a'", "'node.name'", "no such setting; did you mean node.name?"),
        ('"\\u001b[2J" = 1', "'\\x1b[2J'", "no such setting"),
        (f"[log]\nlevel = 0x{'f' * 9000}", "log.level", "must be one of debug, error, info, warning, not that number"),
        ("[tasks]\nlease_s = 0.1", "tasks.lease_s", "must be a number from 0.3 to 600, not 0.1"),
        ("[tasks]\nlease_s = nan", "tasks.lease_s", "must be a number from 0.3 to 600, not nan"),
        ("[tasks]\nlease_s = '3'", "tasks.lease_s", "must be a number from 0.3 to 600, not '3'"),
        ("[tasks]\nlease_s = true", "tasks.lease_s", "must be a number from 0.3 to 600, not True"),
        ("[tasks.lease_s]\nx = 1", "tasks.lease_s", "must be a number from 0.3 to 600, not {'x': 1}"),
        ("insecure = 1979-05-27", "insecure", "must be true or false, not datetime.date(1979, 5, 27)"),
        ("insecure = 1", "insecure", "must be true or false, not 1"),
        ("[log]\nlevel = 'loud'", "log.level", "must be one of debug, error, info, warning, not 'loud'"),
        ("[node]\nname = 'A b'", "node.name", "must be up to 32 of a-z 0-9 _ -, not 'A b'"),
        ("[node]\nname = 'a\\n'", "node.name", "must be up to 32 of a-z 0-9 _ -, not 'a\\\\n'"),
        ("[api]\nlisten = '127.0.0.1:65536'", "api.listen", "must be HOST:PORT, or nothing, not '127.0.0.1:65536'"),
        ("[nats]\nurls = 'nats://a'", "nats.urls", "must be a list of up to 16, each nats://HOST:PORT, not 'nats://a'"),
        ("[nats]\nurls = ['http://a']", "nats.urls", "must be a list of up to 16, each nats://HOST:PORT, not ['http://a']"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_names_key_rule_and_file(tmp_path: Path, text: str, key: str, problem: str) -> None:
    path = _written(tmp_path, text)
    refusal = _refusal(files=[path])
    assert refusal.code == "config"
    assert (refusal.fields["key"], refusal.fields["problem"]) == (key, problem)
    line = next((n for n, each in enumerate(text.splitlines(), 1) if key.rpartition(".")[2] in each.split("=")[0]), 0)
    is_quoted = text.startswith(("'", '"'))
    assert refusal.fields["origin"] == f"file {path}" + ("" if is_quoted else f":{line}")


def test_all_mistakes_of_all_sources_are_told_at_once(tmp_path: Path) -> None:
    first = _written(tmp_path, "[node]\nnmae = 'a'\nregion = 'A b'\n\n[tasks]\n  lease_s = 0\n", "1.toml")
    config, problems = look(files=[first, tmp_path / "none.toml"], environ={"MESHD_LOG__LEVEL": "loud"})
    assert config is None
    assert [str(each) for each in problems] == [
        f"node.nmae: no such setting; did you mean node.name? (file {first}:2)",
        f"{tmp_path}/none.toml: cannot be read: No such file or directory (file {tmp_path}/none.toml)",
        f"node.region: must be 1 to 32 of a-z 0-9 _ -, not 'A b' (file {first}:3)",
        f"tasks.lease_s: must be a number from 0.3 to 600, not 0 (file {first}:6)",
        "log.level: must be one of debug, error, info, warning, not 'loud' (environment MESHD_LOG__LEVEL)",
    ]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("2", "the file is of version 2; this meshd reads version 1, so a newer one is needed"),
        ("0", "must be 1, not 0"),
        ("true", "must be 1, not True"),
        ("'1'", "must be 1, not '1'"),
    ],
)
def test_a_file_of_another_version_is_refused_for_that_alone(tmp_path: Path, said: str, problem: str) -> None:
    path = _written(tmp_path, f"# ours\nversion = {said}\n[node]\nshape = 'round'\n")
    config, problems = look(files=[path])
    assert config is None
    assert [each.fields for each in problems] == [{"key": "version", "problem": problem, "origin": f"file {path}:2"}]


def test_a_file_may_say_its_version_and_it_is_no_setting(tmp_path: Path) -> None:
    config = load(files=[_written(tmp_path, "version = 1\n[node]\nname = 'a'\n")])
    assert config.settings.node.name == "a"
    assert "version" not in config.origins


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[node\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1, column 6)"),
        (b"a = 1\nb = \xff", "is not UTF-8 at line 2"),
        (b"[node]\nname='a'\nname='b'\n", "is not TOML: Cannot overwrite a value (at line 3, column 9)"),
        (b"x = " + b"9" * 9_000, "is not TOML: Exceeds the limit"),
        (b"#" * 1_000_001, "is larger than 1000000 bytes"),
    ],
)
def test_a_file_that_is_no_toml_names_the_line(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    assert str(_refusal(files=[path]).fields["problem"]).startswith(problem)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "meshd.toml"
    file.write_text('[node]\nname = "a1"\n', encoding="utf-8-sig")
    assert load(files=[file], environ={}, flags={}).settings.node.name == "a1"


def test_a_file_nested_without_end_is_refused_and_not_followed(tmp_path: Path) -> None:
    refusal = _refusal(files=[_written(tmp_path, "x = " + "[" * 50_000)])
    assert str(refusal.fields["problem"]).startswith("is not TOML")


def test_a_missing_file_a_folder_and_a_pipe_without_a_writer_are_named(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    assert _refusal(files=[pipe]).fields["problem"] == "cannot be read: it is a pipe that nobody writes to"
    assert _refusal(files=[tmp_path / "no.toml"]).fields["problem"] == "cannot be read: No such file or directory"
    assert _refusal(files=[tmp_path]).fields["problem"] == "cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("MESHD_TASKS__LEASE_S", "soon", "must be a number from 0.3 to 600, not 'soon'"),
        ("MESHD_TASKS__LEASE_S", "inf", "must be a number from 0.3 to 600, not 'inf'"),
        ("MESHD_TASKS__LEASES", "3", "no such setting; did you mean tasks.lease_s?"),
        ("MESHD_TASKS__WIBBLE", "3", "no such setting"),
        ("MESHD_TASK__LEASE_S", "3", "no such setting; did you mean tasks.lease_s?"),
        ("MESHD_WIB", "1", "no such setting"),
        ("MESHD_INSECURE", "perhaps", "must be true or false, not 'perhaps'"),
        (
            "MESHD_NATS__URLS",
            '["nats://a:4222"]',
            """must be a list of up to 16, each nats://HOST:PORT, parted by commas, not '["nats://a:4222"]'""",
        ),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(name: str, value: str, problem: str) -> None:
    refusal = _refusal(environ={name: value})
    assert refusal.fields["problem"] == problem
    assert refusal.fields["origin"] == f"environment {name}"


def test_a_mistake_in_a_flag_names_the_flag() -> None:
    refusal = _refusal(flags={"api.listen": "eighty"})
    assert refusal.fields["origin"] == "flag --listen"
    assert "api.listen: must be HOST:PORT, or nothing, not 'eighty' (flag --listen)" in str(refusal)


def test_every_flag_stands_for_a_setting() -> None:
    assert set(FLAGS) <= {row.key for row in rows()}


@pytest.mark.parametrize("key", ["api.listen", "nats.listen"])
def test_an_address_beyond_this_host_is_refused_until_insecure_is_said(key: str, tmp_path: Path) -> None:
    refusal = _refusal(flags={key: "0.0.0.0:4222"})
    assert (refusal.code, refusal.fields) == ("insecure", {"address": "0.0.0.0:4222"})
    meant = _written(tmp_path, "insecure = true")
    assert load(files=[meant], flags={key: "0.0.0.0:4222"}).settings.insecure is True


def test_where_others_found_the_server_is_used_again_unless_a_source_says_it(tmp_path: Path) -> None:
    assert with_kept(load(), tmp_path) == load()
    (tmp_path / "nats-listen").write_text("10.0.0.1:4222\n")
    kept = with_kept(load(), tmp_path)
    assert kept.settings.nats.listen == "10.0.0.1:4222"
    assert kept.settings.insecure is False, "what was acknowledged is this one address"
    assert kept.origins["nats.listen"] == Given("10.0.0.1:4222", KEPT)
    told = load(flags={"nats.listen": "127.0.0.1:4222"})
    assert with_kept(told, tmp_path) == told


def test_a_node_is_who_and_where_it_was_told_once_until_it_is_told_other(tmp_path: Path) -> None:
    assert set(KEPT_FILES) < set(FLAGS)
    for key in ("name", "region", "domain"):
        (tmp_path / key).write_text(f"{key}-7\n")
    kept = with_kept(load(flags={"node.domain": "sales"}), tmp_path)
    node = kept.settings.node
    assert (node.name, node.region, node.domain) == ("name-7", "region-7", "sales")
    assert kept.origins["node.region"] == Given("region-7", KEPT)
    assert kept.origins["node.domain"].origin == "flag --domain"
    (tmp_path / "region").write_text("EU West\n")
    with pytest.raises(MeshError, match="region"):
        with_kept(load(), tmp_path)


@pytest.mark.parametrize("spoilt", [b"10.0.0.1", b"10.0.0.1:4222\n10.0.0.2:4222", b"\0", b"a" * 4_000, b"\xff"])
def test_a_kept_address_that_was_spoilt_is_refused_with_its_file(tmp_path: Path, spoilt: bytes) -> None:
    (tmp_path / "nats-listen").write_bytes(spoilt)
    with pytest.raises(MeshError) as caught:
        with_kept(load(), tmp_path)
    assert (caught.value.code, caught.value.fields["path"]) == ("directory", str(tmp_path / "nats-listen"))
    assert caught.value.hint == "start with --nats-listen, which is kept instead, or remove the file"
    told = load(flags={"nats.listen": "127.0.0.1:4222"})
    assert with_kept(told, tmp_path) == told, "nobody asks for what was kept"


@pytest.mark.parametrize("key", sorted(KEPT_FILES))
def test_a_kept_file_without_anything_in_it_was_not_told(tmp_path: Path, key: str) -> None:
    for content in ("", "\n", " \n\n"):
        (tmp_path / KEPT_FILES[key]).write_text(content)
        assert with_kept(load(), tmp_path) == load()


@given(st.dictionaries(st.sampled_from([f"MESHD_{row.key.upper().replace('.', '__')}" for row in rows()]), st.text()))
def test_any_text_in_the_environment_is_taken_or_refused_with_a_sentence(environ: dict[str, str]) -> None:
    code = ""
    try:
        load(environ=environ)
    except MeshError as refusal:
        code = refusal.code
    assert code in {"", "config", "insecure"}
