"""Manifests: what loads, and the one sentence that each broken one gets."""

import os
from pathlib import Path
from typing import get_args

import pytest

from meshd.agents.adapters import ADAPTERS
from meshd.agents.manifest import FILE_BYTES_MAX, Kind, Limits, card, load, load_all
from protocol.errors import MeshError
from protocol.limits import CARDS_PER_NODE_MAX, OUTPUT_BYTES_MAX

STDIO = 'name = "a"\nkind = "stdio"\nrun = ["cat"]\ncapabilities = ["x@1"]\n'
PYTHON = 'name = "a"\nkind = "python"\nrun = "shop.agents:agent"\ncapabilities = ["x@1"]\n'
ALL = """
name = "sales-recommendation"
domain = "sales"
version = "2.1.0"
owner_team = "growth"
purpose = "Rank offers for one customer"
capabilities = ["scoring@2"]
kind = "python"
run = "shop.agents:agent"
slots = 4
latency_profile_ms = 1200
cost_profile_per_call = 0.003
confidence_threshold = 0.85
allowed_models = ["small"]
allowed_tools = ["crm_lookup"]
region = ["ap-south-1"]
visibility = "domain"
limits = { memory_mb = 512, task_s = 60 }
"""


def written(folder: Path, text: str, name: str = "a.toml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def problem(path: Path) -> str:
    with pytest.raises(MeshError) as caught:
        load(path)
    assert caught.value.code == "manifest"
    start = f"{path}: "
    assert caught.value.message.startswith(start)
    return caught.value.message.removeprefix(start)


def test_every_key_is_read_and_what_the_mesh_needs_stands_on_the_card(tmp_path: Path) -> None:
    manifest = load(written(tmp_path, ALL))
    assert manifest.limits == Limits(memory_mb=512, task_s=60.0, output_bytes=OUTPUT_BYTES_MAX)
    assert (manifest.allowed_models, manifest.allowed_tools, manifest.region) == (
        ("small",),
        ("crm_lookup",),
        ("ap-south-1",),
    )
    assert manifest.folder == tmp_path
    shown = card(manifest)
    assert (shown.name, shown.capabilities, shown.slots, shown.kind) == (
        "sales-recommendation",
        ("scoring@2",),
        4,
        "python",
    )
    assert (shown.domain, shown.version, shown.owner_team, shown.visibility) == ("sales", "2.1.0", "growth", "domain")
    assert (shown.latency_ms, shown.cost_per_call, shown.confidence) == (1200, 0.003, 0.85)
    assert shown.purpose == "Rank offers for one customer"


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert load(written(tmp_path, f"\ufeff{STDIO}")).command == ("cat",)


def test_four_keys_are_enough(tmp_path: Path) -> None:
    manifest = load(written(tmp_path, STDIO))
    assert (manifest.slots, manifest.visibility, manifest.limits) == (1, "mesh", Limits())
    assert manifest.command == ("cat",)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("slots = 0", "slots: must be a whole number from 1 to 64, not 0"),
        ("slots = 65", "slots: must be a whole number from 1 to 64, not 65"),
        ("slots = true", "slots: must be a whole number from 1 to 64, not True"),
        ('slots = "4"', "slots: must be a whole number from 1 to 64, not '4'"),
        ("slot = 4", "slot: no such key; did you mean slots?"),
        ("quite_other = 4", "quite_other: no such key"),
        ('path = "x"', "path: no such key"),
        ("limits = 3", "limits: must be a table of memory_mb, task_s, output_bytes, connect_s, not 3"),
        ("limits = { memory = 1 }", "limits.memory: no such key; did you mean memory_mb?"),
        ("limits = { memory_mb = -1 }", "limits.memory_mb: must be a whole number from 0 (none) to 1048576, not -1"),
        ("limits = { task_s = 0 }", "limits.task_s: must be a number above 0, up to 2592000, not 0"),
        ("limits = { task_s = nan }", "limits.task_s: must be a number above 0, up to 2592000, not nan"),
        (
            "limits = { output_bytes = 262145 }",
            "limits.output_bytes: must be a whole number from 1 to 262144, not 262145",
        ),
        ('visibility = "all"', "visibility: must be private, domain or mesh, not 'all'"),
        ('domain = "Big Sales"', "domain: must be 1 to 32 of a-z 0-9 _ -, not 'Big Sales'"),
        ('region = ["EU"]', "region: must be a list of up to 64, each 1 to 32 of a-z 0-9 _ -, not ['EU']"),
        ("latency_profile_ms = 1.5", "latency_profile_ms: must be a whole number from 0 to 2592000000, not 1.5"),
        ("confidence_threshold = 2", "confidence_threshold: must be a number from 0 to 1, not 2"),
        ("cost_profile_per_call = -1", "cost_profile_per_call: must be a number from 0 to 1e9, not -1"),
        ('purpose = "' + "x" * 513 + '"', "purpose: must be text of up to 512 characters, not '" + "x" * 59 + "…"),
        (
            'topics = ["sales"]',
            "topics: must be a list of up to 32 domain.name, each 1 to 32 of a-z 0-9 _ -, like sales.all",
        ),
        ('topics = ["sales.*"]', "topics: must be a list of up to 32 domain.name"),
        ('topics = ["a.b", "a.b"]', "topics: a.b stands there twice"),
        ("slots = " + "9" * 5_000, "is not TOML: Exceeds the limit"),
        ('"\\u0007" = 1', "'\\x07': no such key"),
    ],
    ids=lambda value: value[:40],
)
def test_a_key_out_of_range_is_named_with_its_rule(tmp_path: Path, line: str, expected: str) -> None:
    assert problem(written(tmp_path, STDIO + line)).startswith(expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"a"', '"A b"', "name: must be 1 to 48 of a-z 0-9 _ -, a letter first, not 'A b'"),
        ('"a"', '"a\\n"', "name: must be 1 to 48 of a-z 0-9 _ -, a letter first, not 'a\\n'"),
        ('name = "a"\n', "", "name: is missing"),
        ('"stdio"', '"docker"', "kind: must be python, stdio, http or mcp, not 'docker'"),
        ('"x@1"', '"x"', "capabilities: must be a list of 1 to 64 name@major, like scoring@2, not ['x']"),
        ('"x@1"', "", "capabilities: must be a list of 1 to 64 name@major, like scoring@2, not []"),
        ('"x@1"', '"x@1", "x@1"', "capabilities: x@1 stands there twice"),
        ('["cat"]', '"cat"', 'run: must be ["command", "argument", ...] for a stdio agent, not \'cat\''),
        ('["cat"]', "[]", 'run: must be ["command", "argument", ...] for a stdio agent, not []'),
        ('["cat"]', "[3]", 'run: must be "module:attribute", or ["command", "argument", ...], not [3]'),
        ('["cat"]', '["cat", "a\\u0000b"]', 'run: must be "module:attribute", or ["command", "argument", ...]'),
        ('["cat"]', '["no-such-command"]', "run: the command 'no-such-command' is not on PATH"),
    ],
    ids=lambda value: value[:40],
)
def test_a_required_key_that_is_wrong_is_named_with_its_rule(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert problem(written(tmp_path, STDIO.replace(old, new))).startswith(expected)


def test_an_agent_may_only_listen(tmp_path: Path) -> None:
    only = STDIO.replace('capabilities = ["x@1"]', 'topics = ["sales.all"]')
    assert load(written(tmp_path, only)).topics == ("sales.all",)
    assert (
        problem(written(tmp_path, only.replace('topics = ["sales.all"]', "topics = []"))) == "capabilities: is missing"
    )


def test_an_http_agent_may_only_listen_and_an_mcp_agent_cannot(tmp_path: Path) -> None:
    http = 'name = "a"\nkind = "http"\nurl = "http://localhost:1/"\ntopics = ["sales.all"]\n'
    assert load(written(tmp_path, http)).topics == ("sales.all",)
    found = problem(written(tmp_path, http.replace('"http"', '"mcp"')))
    assert found == "topics: an agent of kind mcp has none; those of kind python or stdio or http have"


@pytest.mark.parametrize("run", ['["python3"]', '"shop.agents"', '"shop.agents:"', '"../x:agent"', '"a:b:c"'])
def test_a_python_agent_runs_an_attribute_of_a_module(tmp_path: Path, run: str) -> None:
    wrong = problem(written(tmp_path, PYTHON.replace('"shop.agents:agent"', run)))
    assert wrong.startswith('run: must be "module:attribute" for a python agent, not ')


def test_a_command_beside_the_manifest_must_be_there_and_executable(tmp_path: Path) -> None:
    (folder := tmp_path / "my agents").mkdir()
    path = written(folder, STDIO.replace('"cat"', '"./agent"'))
    assert problem(path) == f"run: there is no file {folder / 'agent'}"
    (folder / "agent").touch()
    assert problem(path) == f"run: {folder / 'agent'} is not executable; try: chmod +x '{folder / 'agent'}'"
    (folder / "agent").chmod(0o700)
    assert load(path).command == ("./agent",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"name = \n", "is not TOML: Invalid value (at line 1, column 8)"),
        (b"a = 1\nname = '\xff'", "is not UTF-8 at line 2"),
        (b"#" * (FILE_BYTES_MAX + 1), f"is larger than {FILE_BYTES_MAX} bytes"),
        (b"a = " + b"[" * 5_000, "is not TOML: "),
        (b"", "name: is missing"),
    ],
    ids=["broken", "bytes", "large", "deep", "empty"],
)
def test_a_file_that_is_no_manifest_says_why(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    assert problem(tmp_path / "a.toml").startswith(expected)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert problem(tmp_path / "missing.toml") == "cannot be read: No such file or directory"
    (tmp_path / "folder.toml").mkdir()
    assert problem(tmp_path / "folder.toml") == "cannot be read: Is a directory"
    os.mkfifo(tmp_path / "pipe.toml")
    assert problem(tmp_path / "pipe.toml") == "is no regular file"


def test_a_broken_manifest_does_not_keep_the_others_from_loading(tmp_path: Path) -> None:
    written(tmp_path, STDIO, "1.toml")
    written(tmp_path, "nonsense", "2.toml")
    written(tmp_path, STDIO.replace('"a"', '"c"'), "3.toml")
    written(tmp_path, "nonsense", "notes.txt")
    written(tmp_path, "nonsense", ".hidden.toml")
    manifests, errors = load_all(tmp_path)
    assert [manifest.name for manifest in manifests] == ["a", "c"]
    assert [str(error.fields["path"]) for error in errors] == [str(tmp_path / "2.toml")]


def test_of_two_agents_of_one_name_the_first_stands_and_both_files_are_named(tmp_path: Path) -> None:
    first, second = written(tmp_path, STDIO, "1.toml"), written(tmp_path, PYTHON, "2.toml")
    manifests, errors = load_all(tmp_path)
    assert [manifest.path for manifest in manifests] == [first]
    assert [error.message for error in errors] == [f"{second}: name: an agent called a stands in {first} already"]


def test_more_agents_than_a_node_may_announce_are_refused(tmp_path: Path) -> None:
    for number in range(CARDS_PER_NODE_MAX + 1):
        written(tmp_path, STDIO.replace('"a"', f'"a{number:03}"'), f"{number:03}.toml")
    manifests, errors = load_all(tmp_path)
    assert len(manifests) == CARDS_PER_NODE_MAX
    assert [error.fields["path"] for error in errors] == [tmp_path / f"{CARDS_PER_NODE_MAX:03}.toml"]


def test_a_missing_folder_holds_no_agents_and_an_unreadable_one_is_an_error(tmp_path: Path) -> None:
    assert load_all(tmp_path / "none") == ([], [])
    (tmp_path / "file").touch()
    manifests, errors = load_all(tmp_path / "file")
    assert manifests == []
    assert [error.message for error in errors] == [f"{tmp_path / 'file'}: cannot be listed: Not a directory"]


def test_a_manifest_in_a_folder_given_relatively_has_an_absolute_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, STDIO)
    monkeypatch.chdir(tmp_path)
    assert load(Path("a.toml")).folder == Path(os.getcwd())


def test_every_kind_has_an_adapter() -> None:
    assert set(ADAPTERS) == set(get_args(Kind))


HTTP = 'name = "a"\nkind = "http"\nurl = "http://host/tasks"\ncapabilities = ["x@1"]\n'
MCP = 'name = "a"\nkind = "mcp"\nrun = ["cat"]\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HTTP.replace("url", "run"), "url: is missing"),
        (HTTP.replace('capabilities = ["x@1"]\n', ""), "capabilities: is missing"),
        (HTTP.replace("http:", "ftp:"), "url: must be http://HOST... or https://HOST..., not 'ftp://host/tasks'"),
        (HTTP + 'run = ["cat"]\n', "run: an agent of kind http has none; those of kind python or stdio or mcp have"),
        (
            HTTP + "headers_file = 3\n",
            "headers_file: must be the path of a file of NAME: VALUE lines, not 3",
        ),
        (STDIO + 'url = "http://host"\n', "url: an agent of kind stdio has none; those of kind http or mcp have"),
        (PYTHON + 'token_file = "t"\n', "token_file: an agent of kind python has none; those of kind http or mcp have"),
        (STDIO.replace('run = ["cat"]\n', ""), "run: is missing"),
        (MCP.replace('run = ["cat"]\n', ""), "run: an mcp agent has either a command to run, or a url; "),
        (MCP + 'url = "http://host"\n', "run: an mcp agent has either a command to run, or a url; "),
        (MCP.replace('["cat"]', '"cat"'), 'run: must be ["command", "argument", ...] for an mcp agent, not '),
        (MCP.replace('["cat"]', '["no-such"]'), "run: the command 'no-such' is not on PATH"),
        (STDIO + "limits = { connect_s = 0 }\n", "limits.connect_s: must be a number above 0, up to 300, not 0"),
        (STDIO + '[schemas."y@1"]\ntakes = true\n', "schemas: y@1 is none of the agent's capabilities"),
        (STDIO + '[schemas."x@1"]\ntake = true\n', "schemas: must have takes and gives, each a JSON Schema"),
        (STDIO + '[schemas."x@1"]\ntakes = 3\n', "schemas.takes: must have takes and gives, each a JSON Schema"),
        (STDIO + "schemas = 3\n", "schemas: must "),
        (STDIO + '[schemas."x@1"]\ntakes = { type = "nonsense" }\n', "schemas.x@1.takes: is no JSON Schema: type: "),
        (STDIO + '[schemas."x@1"]\ngives = { "$ref" = "http://x/" }\n', "schemas.x@1.gives: is no JSON Schema: "),
    ],
    ids=lambda value: ascii(value)[-40:],
)
def test_what_does_not_fit_the_kind_is_named(tmp_path: Path, text: str, expected: str) -> None:
    assert problem(written(tmp_path, text)).startswith(expected)


def test_a_tool_server_needs_no_list_of_capabilities(tmp_path: Path) -> None:
    assert load(written(tmp_path, MCP)).capabilities == ()
