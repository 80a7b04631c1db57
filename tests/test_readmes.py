"""What README files say about the code is made from the code.

To renew them: MESHD_RENEW=1 pytest tests/test_readmes.py
"""

import ast
import os
import re
import shlex
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import get_args

import click
import pytest

from cli import daemon, meshctl
from cli.sim import from_live
from meshd.observe.metrics import METRICS
from protocol.envelope import REFUSALS
from protocol.records import diagram
from protocol.wire.kinds import KINDS
from simulations.checks import CHECKS
from simulations.command import _parser
from simulations.faults import Fault, Lie
from simulations.reports.building import said_of
from simulations.scenario import NODES_MAX

ROOT = Path(__file__).parents[1]
TEXTS = sorted(
    path
    for folder, ends in (("", ("README.md", "*/README.md", "*/*/README.md")), ("configs", ("*.*", "*/*.*")))
    for end in ends
    for path in (ROOT / folder).glob(end)
    if path.suffix in (".md", ".toml", ".yml", ".service")
)
PACKAGES = ("cli", "meshd", "protocol", "simulations")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TYPED = re.compile(r"(?<![\w/.-])(meshctl|meshd)((?: [^\s`#|>;,()\"…{▶\\]+)+)")
SIMULATED = re.compile(r"(?:^|`)python -m simulations((?: [^\s`#>;]+)*)", re.MULTILINE)
PROSE = {"A", "and", "names", "on", "there", "──┐", "─"}  # what follows a command in a sentence, or in a picture


def _refusals() -> str:
    rows = [f"| `{code}` | {meaning} |" for code, meaning in REFUSALS.items()]
    return "\n".join(("| code | the frame had no effect, because |", "|---|---|", *rows))


def _kinds() -> str:
    rows = []
    for tag, kind in KINDS.items():
        meaning = (kind.body.__doc__ or "").strip().partition("\n")[0]
        fields = ", ".join(kind.body.__struct_fields__)
        rows.append(f"| `{tag}` | {kind.family} | {kind.frame_bytes_max:,} | {fields} | {meaning} |")
    head = ("| kind | family | bytes at most | fields in order | what it says |", "|---|---|---|---|---|")
    return "\n".join((*head, *rows))


def _transitions() -> str:
    return f"```\n{diagram()}\n```"


def _metrics() -> str:
    rows = [f"| `{row.name}` | {row.kind} | {', '.join(row.labels)} | {row.help} |" for row in METRICS]
    return "\n".join(("| figure | kind | labels | what |", "|---|---|---|---|", *rows))


TABLES: dict[str, Callable[[], str]] = {
    "refusals": _refusals,
    "kinds": _kinds,
    "transitions": _transitions,
    "metrics": _metrics,
}
PLACES = {"protocol": ("refusals", "kinds", "transitions"), "meshd": ("metrics",)}


def _renewed(text: str, *names: str) -> str:
    for name in names:
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        text = f"{before}{mark}{TABLES[name]()}\n{end}{after}"
    return text


@pytest.mark.parametrize("package", PLACES)
def test_the_tables_of_a_readme_say_what_the_code_does(package: str) -> None:
    path, names = ROOT / package / "README.md", PLACES[package]
    text = path.read_text()
    assert all(f"<!-- {name} -->" in text for name in names)
    if os.environ.get("MESHD_RENEW"):
        path.write_text(_renewed(text, *names))
    assert path.read_text() == _renewed(text, *names), "renew it with: MESHD_RENEW=1 pytest tests/test_readmes.py"


def test_every_kind_of_message_says_who_may_say_it_and_where_that_is_checked() -> None:
    _, _, rest = (ROOT / "protocol" / "README.md").read_text().partition("<!-- speakers -->\n")
    rows = [line.strip("| ").split(" | ") for line in rest.partition("<!-- end -->")[0].splitlines()[2:]]
    said = [kind for row in rows for kind in re.findall(r"`([a-z_]+)`", row[0])]
    assert sorted(said) == sorted(KINDS)
    for row in rows:
        module, owner, verb = row[3].strip("`").split(".")
        assert callable(getattr(getattr(import_module(f"protocol.{module}"), owner), verb)), row[3]


@pytest.mark.parametrize("package", ["protocol", "meshd", "cli", "simulations", "configs", "tests"])
def test_every_package_says_what_it_is_its_rule_and_how_to_add_to_it(package: str) -> None:
    text = (ROOT / package / "README.md").read_text()
    assert text.startswith(f"# {package}")
    assert " rule" in text
    assert "\n## To add" in text


INNER = sorted(each.parent for top in ("meshd", "protocol") for each in (ROOT / top).glob("*/__init__.py"))


@pytest.mark.parametrize("folder", INNER, ids=lambda folder: folder.name)
def test_every_package_within_one_says_its_rule_and_how_to_add_to_it_and_names_only_what_there_is(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert text.startswith(f"# {folder.name.capitalize()}\n")
    assert "**The rule**: " in text
    assert "\n## To add" in text
    _, _, table = text.partition("| module | what |\n|---|---|\n")
    cells = [line.split(" | ")[0] for line in table.partition("\n\n")[0].splitlines()]
    missing = [name for cell in cells for name in re.findall(r"`([\w*/]+)`", cell) if not list(folder.glob(f"{name}*"))]
    assert missing == []


def test_the_largest_world_that_a_readme_speaks_of_is_the_largest_that_is_taken() -> None:
    told = re.findall(r"a world has ([0-9,]+) nodes at most", (ROOT / "simulations" / "README.md").read_text())
    assert told == [f"{NODES_MAX:,}"]


def test_every_link_to_a_file_in_a_readme_leads_somewhere() -> None:
    for path in (ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("*/*/README.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists() or "://" in target, f"{path.name}: {target}"


def _misspoken(text: str) -> Iterator[str]:
    """Commands in a text that do not exist, or do not take an option that stands there."""
    for program, words in TYPED.findall(text):
        command: click.Command = meshctl.root if program == "meshctl" else daemon.root
        path, rest = program, iter(words.split())
        for word in (each.rstrip(".:'") for each in rest):
            verb = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
            if (path, word) == ("meshctl sim", "from-live"):
                verb = from_live
            option = next((each for each in command.params if word.partition("=")[0] in each.opts), None)
            if verb is not None:
                command, path = verb, f"{path} {word}"
            elif isinstance(option, click.Option):
                next(rest if not option.is_flag else iter(()), None)
            elif (
                path == "meshctl sim"
                or word == "--help"
                or (isinstance(command, click.Group) and (path == "meshd" or word in PROSE))
            ):
                break  # `simulations` has its words, or this is a sentence
            elif word.startswith("-") or isinstance(command, click.Group):
                yield f"{path} {word}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_text_names_exists_with_its_options(path: Path) -> None:
    assert list(_misspoken(path.read_text())) == []


def test_every_command_that_an_error_or_a_cure_names_exists_with_its_options() -> None:
    assert [f"{path.name}: {each}" for path in SOURCES for each in _misspoken(path.read_text())] == []


def test_a_command_that_is_none_is_found() -> None:
    text = "`meshctl pears`, `meshctl peers ping-all`; see: meshd start --detatch, meshctl peers there"
    assert list(_misspoken(text)) == ["meshctl pears", "meshctl peers ping-all", "meshd start --detatch"]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_line_for_the_simulator_is_one_that_it_takes(path: Path) -> None:
    for line in SIMULATED.findall(path.read_text()):
        words = shlex.split(line.replace("…", ""))
        if words:
            _parser("simulations", "").parse_args([each.rstrip(",.") for each in words])


def test_the_readme_of_simulations_names_every_rule_every_fault_and_every_lie() -> None:
    text = (ROOT / "simulations" / "README.md").read_text()
    faults = [str(kind.__struct_config__.tag) for kind in get_args(Fault)]
    assert [name for name in (*CHECKS, *faults) if f"`{name}`" not in text] == []
    assert f"(`shape`: {', '.join(get_args(Lie))})" in text


def test_the_table_of_rules_has_the_letters_that_the_rules_themselves_say() -> None:
    text = (ROOT / "simulations" / "README.md").read_text()
    rows = re.findall(r"^\| ((?:`[a-z-]+` ?)+)\| ([A-Z0-9 ]*)\| ", text, re.MULTILINE)
    told = {tuple(re.findall(r"[a-z-]+", names)): set(letters.split()) for names, letters in rows}
    said = {names: [said_of(CHECKS[name])[0].split(", ") for name in names] for names in told if names[0] in CHECKS}
    assert sum(len(names) for names in said) == len(CHECKS)
    assert {names: told[names] for names in said} == {
        names: {letter for letters in each for letter in letters if letter} for names, each in said.items()
    }


def test_every_dependency_has_its_row_and_what_an_extra_brings_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    _, _, rest = (ROOT / "README.md").read_text().partition("## Dependencies\n")
    text = rest.partition("\n## ")[0]
    rows = re.findall(r"^\| ([\w-]+) \|", text, flags=re.MULTILINE)
    assert sorted(rows) == sorted(["package", *(_package(each) for each in project["dependencies"])])
    extras = {_package(each) for packages in project["optional-dependencies"].values() for each in packages}
    assert [name for name in sorted(extras) if not re.search(rf"\b{name}\b", text)] == []


def _package(requirement: str) -> str:
    return re.split(r"[<>=~! \[]", requirement)[0]


def test_what_a_module_names_in_its_docstring_is_there() -> None:
    texts = {path: path.read_text() for path in SOURCES}
    docs = {path: ast.get_docstring(ast.parse(text), clean=False) or "" for path, text in texts.items()}
    known = Counter(word for path, text in texts.items() for word in re.findall(r"\w+", text.replace(docs[path], "")))
    known.update(part for path in SOURCES for part in path.relative_to(ROOT).with_suffix("").parts)
    named = [(path, name) for path, doc in docs.items() for name in re.findall(r"`([\w.]+)`", doc)]
    assert [f"{path.name}: {name}" for path, name in named if not all(known[word] for word in name.split("."))] == []
