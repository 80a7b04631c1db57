"""What is read of one source file."""

import pytest

from meshd.demo.syntax import Call, Import, Measured, read


def imports(source: str) -> list[tuple[str, bool]]:
    return [(found.module, found.is_optional) for found in read(source.encode()).imports]


def calls(source: str) -> list[str]:
    return [call.what for call in read(source.encode()).calls]


def complexity(body: str) -> int:
    most = read(f"def f(a, b, c):\n    {body}\n".encode()).most_complex
    assert most is not None
    return most.complexity


def test_an_import_at_the_top_always_happens() -> None:
    assert read(b"import a.b\nfrom c.d import e\n").imports == (Import("a", 1, False), Import("c", 2, False))


def test_an_import_whose_failure_is_handled_is_optional() -> None:
    assert imports("try:\n    import a\nexcept ImportError:\n    import b\n") == [("a", True), ("b", True)]
    assert imports("try:\n    import a\nexcept (OSError, ModuleNotFoundError):\n    pass\n") == [("a", True)]
    assert imports("try:\n    import a\nexcept KeyError:\n    pass\n") == [("a", False)]


def test_an_import_in_a_function_or_under_a_condition_is_optional() -> None:
    assert imports("def f():\n    import a\n") == [("a", True)]
    assert imports("if TYPE_CHECKING:\n    import a\n") == [("a", True)]


def test_relative_imports_are_the_packages_own() -> None:
    assert imports("from . import a\nfrom .b import c\n") == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.loads(x)",
        "import pickle as p\np.load(x)",
        "from pickle import loads\nloads(x)",
        "from pickle import Unpickler as U\nU(x)",
    ],
)
def test_pickle_loads_are_found_under_any_name(source: str) -> None:
    assert calls(source) == ["pickle load"]


def test_only_a_shell_that_is_asked_for_is_dangerous() -> None:
    assert calls("import subprocess\nsubprocess.run(x, shell=True)") == ["shell=True"]
    assert calls("from subprocess import Popen as P\nP(x, shell=True)") == ["shell=True"]
    assert calls("import subprocess\nsubprocess.run(x, shell=False)") == []
    assert calls("other.run(x, shell=True)") == []


def test_eval_and_exec_are_the_builtins_only() -> None:
    assert read(b"x = 1\neval(x)\nexec(x)\n").calls == (Call("eval", 2), Call("exec", 3))
    assert calls("model.eval()") == []
    assert calls("def eval(x): pass\neval(1)") == []
    assert calls("from safe import exec\nexec(1)") == []


def test_an_import_below_its_use_still_names_it() -> None:
    assert calls("def f():\n    system('x')\nfrom os import system\n") == ["os.system"]


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("return a", 1),
        ("return a if b else c", 2),
        ("return a and b or c", 3),
        ("return [x for x in a if x if b]", 4),
        ("assert a", 1),
        ("while a: pass", 2),
        ("for x in a: pass", 2),
        ("with a: pass", 1),
    ],
)
def test_complexity_counts_each_branch_once(body: str, number: int) -> None:
    assert complexity(body) == number


def test_elif_except_and_case_are_branches_and_a_wildcard_is_not() -> None:
    assert complexity("\n    if a: pass\n    elif b: pass\n    else: pass") == 3
    assert complexity("\n    try: pass\n    except A: pass\n    except B: pass\n    finally: pass") == 3
    assert complexity("\n    match a:\n        case 1: pass\n        case 2: pass\n        case _: pass") == 3


def test_a_nested_function_counts_for_itself() -> None:
    source = b"def outer():\n    if a: pass\n    def inner():\n        if a: pass\n        if b: pass\n"
    assert read(source).most_complex == Measured("outer.inner", 3, 3)


def test_lines_comments_and_the_unfinished_are_counted() -> None:
    found = read(b"# one\nx = '# none'  # FIXME later\ny = 2")
    assert (found.lines, found.comments, found.unfinished, found.functions) == (3, 2, 1, 0)


def test_what_is_no_python_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(SyntaxError):
        read(b"def (:")
    with pytest.raises((SyntaxError, ValueError)):
        read(b"x = 1\0")
    with pytest.raises(SyntaxError):
        read(b"# -*- coding: latin-1 -*-\nx = '" + b"\xff")


def test_a_very_long_chain_overflows_nothing_here() -> None:
    assert read(("x = " + " + ".join(["1"] * 900) + "\n").encode()).lines == 1
    with pytest.raises((RecursionError, MemoryError, SyntaxError)):
        read(b"(" * 10_000 + b")" * 10_000)
