"""The rules of style that a program can check; each test lists every place that breaks one.

What ruff and mypy check already (imports, clocks, broad excepts) is not repeated here.
"""

import ast
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("protocol", "meshd", "cli", "simulations")
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
DOCSTRING_LINES_MAX = 10
TEST_NAME_WORDS_MIN = 3

BANNED_NAMES = frozenset({"data", "info"})
BANNED_WORDS = frozenset({"util", "utils", "helper", "helpers", "manager", "managers"})
# Names that an interface of others prescribes.
FOREIGN_NAMES: dict[str, frozenset[str]] = {
    "meshd/api/connection.py": frozenset({"manager", "data"}),  # arguments of the HTTP library's and asyncio's methods
    "meshd/store/wire.py": frozenset({"data"}),  # a member of JetStream's JSON
}

# Modules without a test of their own, and why that is right.
UNTESTED: dict[str, str] = {
    "protocol.primitives": "three types and one line of arithmetic, used by every test",
    "protocol.limits": "numbers",
    "protocol.presets": "numbers; tests/meshd/test_config.py takes each",
    "protocol.errors": "a table; every refusal that a test looks at reads it",
    "protocol.view": "promises; tests/protocol/test_places.py checks who makes them",
    "meshd.clock": "the only reader of clocks: nothing is left to check but the platform",
    "meshd.ports": "promises; the contract suites check whoever makes them",
    "meshd.wiring": "makes parts and decides nothing; every live test runs what it wires",
    "meshd.app": "the order of start and stop, signals included; live tests start, stop and kill it",
}


def _python_files(*tops: str) -> list[Path]:
    return sorted(path for top in tops for path in (ROOT / top).rglob("*.py"))


def _text_files() -> list[Path]:
    top = [path for path in ROOT.iterdir() if path.is_file() and path.name not in {"LICENSE", ".git"}]
    folders = [*PACKAGES, "tests", "configs", ".ci"]
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return sorted(path for path in top + found if "__pycache__" not in path.parts and b"\0" not in path.read_bytes())


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _comments(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def _at(path: Path, line: int = 0) -> str:
    return f"{path.relative_to(ROOT)}:{line}" if line else str(path.relative_to(ROOT))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_no_file_is_longer_than_five_hundred_lines() -> None:
    lengths = {_at(path): len(path.read_text().splitlines()) for path in _python_files(*PACKAGES, "tests")}
    assert not {path: lines for path, lines in lengths.items() if lines > FILE_LINES_MAX}


def test_no_function_is_longer_than_sixty_lines() -> None:
    long = {
        f"{_at(path, function.lineno)} {function.name}": lines
        for path in _python_files(*PACKAGES, "tests")
        for function in _functions(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert not long


def test_every_module_opens_with_what_it_is_in_at_most_ten_lines() -> None:
    wrong = {}
    for path in _python_files(*PACKAGES, "tests"):
        said = ast.get_docstring(_tree(path))
        if said is None:
            wrong[_at(path)] = "says nothing"
        elif path.name != "__init__.py" and len(said.splitlines()) > DOCSTRING_LINES_MAX:
            wrong[_at(path)] = f"{len(said.splitlines())} lines"
    assert not wrong


def test_a_package_is_a_map_and_re_exports_nothing() -> None:
    assert not [
        _at(path) for path in _python_files(*PACKAGES) if path.name == "__init__.py" and len(_tree(path).body) > 1
    ]


def test_every_module_of_protocol_and_meshd_has_a_test_or_a_reason() -> None:
    imported: set[str] = set()
    for path in _python_files("tests"):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    modules = {_module(path) for path in _python_files("protocol", "meshd") if path.name != "__init__.py"}
    assert sorted(modules - imported - set(UNTESTED)) == []
    assert sorted(set(UNTESTED) - modules) == [], "these are listed, and are not there any more"


def test_no_name_is_one_that_says_nothing() -> None:
    wrong = []
    for path in _python_files(*PACKAGES, "tests"):
        names = [(1, path.stem)]
        for node in ast.walk(_tree(path)):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    names.append((node.lineno, name))
                case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                    names.append((node.lineno, name))
        for line, name in names:
            words = set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))
            is_vague = name.strip("_") in BANNED_NAMES or words & BANNED_WORDS or name.startswith("process_")
            if is_vague and name not in FOREIGN_NAMES.get(_at(path), ()):
                wrong.append(f"{_at(path, line)} {name}")
    assert not wrong


def test_nothing_is_left_to_do_in_a_comment() -> None:
    later = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    wrong = [
        f"{_at(path, line)} {comment}"
        for path in _python_files(*PACKAGES, "tests")
        for line, comment in _comments(path)
        if later.search(comment)
    ]
    wrong += [
        f"{_at(path, number)} {line}"
        for path in _text_files()
        if path.suffix != ".py"
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if later.search(line)
    ]
    assert not wrong


def test_every_ignore_names_its_rule_and_its_reason() -> None:
    ignore = re.compile(r"#\s*(type:\s*ignore|noqa)")
    reasoned = re.compile(r"#\s*(type:\s*ignore\[[\w,\s-]+\]|noqa:\s*[A-Z]+[0-9]+(,\s*[A-Z]+[0-9]+)*)\s+.*[a-z]{2,}")
    wrong = [
        f"{_at(path, line)} {comment}"
        for path in _python_files(*PACKAGES, "tests")
        for line, comment in _comments(path)
        if ignore.search(comment) and not reasoned.search(comment)
    ]
    assert not wrong


def _calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def test_no_test_waits_by_stopping_its_thread() -> None:
    assert not [
        _at(path, line) for path in _python_files("tests") for line, name in _calls(path) if name == "time.sleep"
    ]


def test_background_tasks_are_made_by_the_supervisor_alone() -> None:
    made = {
        _at(path, line)
        for path in _python_files(*PACKAGES)
        for line, name in _calls(path)
        if name in {"asyncio.create_task", "asyncio.ensure_future", "loop.create_task"}
    }
    assert {place.partition(":")[0] for place in made} <= {"meshd/supervise.py"}, made


def test_no_option_is_taken_by_its_beginning_alone() -> None:
    assert not [
        _at(path, node.lineno)
        for path in _python_files(*PACKAGES, "tests")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "argparse.ArgumentParser"
        if "allow_abbrev=False" not in map(ast.unparse, node.keywords)
    ]


def test_only_commands_reports_and_the_demo_print() -> None:
    allowed = ("cli/", "simulations/", "meshd/demo/")
    wrong = [_at(path, line) for path in _python_files(*PACKAGES) for line, name in _calls(path) if name == "print"]
    assert not [place for place in wrong if not place.startswith(allowed)]


def _sleeps(body: list[ast.stmt]) -> Iterator[int]:
    """Lines of sleeps in these statements themselves, not in functions that are defined among them."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("sleep"):
            is_a_yield = [ast.unparse(argument) for argument in node.args] == ["0"]
            if not is_a_yield:
                yield node.lineno
        waiting += ast.iter_child_nodes(node)


def test_no_test_sleeps_for_a_guess() -> None:
    wrong = [
        f"{_at(path, line)} in {function.name}"
        for path in _python_files("tests")
        for function in _functions(path)
        if function.name.startswith("test_")
        for line in _sleeps(function.body)
    ]
    assert not wrong


def test_names_of_tests_are_sentences() -> None:
    names = [
        f"{_at(path, function.lineno)} {function.name}"
        for path in _python_files("tests")
        for function in _functions(path)
        if function.name.startswith("test_") and function.name.count("_") < TEST_NAME_WORDS_MIN
    ]
    assert not names


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    here = re.compile(
        r"(?<![\w.$}])/(wor[k]|roo[t]|hom[e]/[a-z]\w*|User[s]/[a-z]\w*|opt/pyp[i]\S*)(/|\b(?=['\"\s]))"
        r"|pyp[i]\.org|pythonhoste[d]\.org|(extra-)?index-ur[l]"
    )
    wrong = [
        f"{_at(path, number)} {line.strip()}"
        for path in _text_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if here.search(line)
    ]
    assert not wrong
