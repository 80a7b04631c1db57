"""One source file: what it imports, what it calls that is dangerous, how complex it is, what its comments admit.

Invariant: nothing is imported or executed, and no nesting overflows: the walk keeps its own stack.
Complexity is McCabe's: one, and one more for each way a function can branch (if, loop, handler,
conditional expression, further operand of and/or, comprehension and its conditions, case);
nested functions count for themselves. Neighbours: `package_audit` adds the files of a piece up.
"""

import ast
import io
import re
import tokenize
from dataclasses import dataclass, field

_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_EXECUTE = frozenset({"eval", "exec"})
_DANGEROUS = {
    "pickle.load": "pickle load",
    "pickle.loads": "pickle load",
    "pickle.Unpickler": "pickle load",
    "_pickle.load": "pickle load",
    "_pickle.loads": "pickle load",
    "cPickle.load": "pickle load",
    "cPickle.loads": "pickle load",
    "os.system": "os.system",
    "os.popen": "os.popen",
    "builtins.eval": "eval",
    "builtins.exec": "exec",
}
_SHELL = frozenset({"run", "call", "check_call", "check_output", "Popen"})
_UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIXME|XXX|HACK)\b")


@dataclass(frozen=True)
class Import:
    """An absolute import. `is_optional`: in a function, under a condition, or with its failure handled."""

    module: str
    line: int
    is_optional: bool


@dataclass(frozen=True)
class Call:
    """A dangerous call: `what` is eval, exec, pickle load, os.system, os.popen or shell=True."""

    what: str
    line: int


@dataclass(frozen=True)
class Measured:
    """One function and its cyclomatic complexity."""

    name: str
    line: int
    complexity: int


@dataclass(frozen=True)
class Source:
    """All that was read of one file; each list in the order of lines. `unfinished`: comments that say so themselves."""

    lines: int
    comments: int
    unfinished: int
    functions: int
    imports: tuple[Import, ...]
    calls: tuple[Call, ...]
    most_complex: Measured | None


@dataclass
class _Scope:
    """A function under way; `name` is dotted like Python's qualified names."""

    name: str
    line: int
    complexity: int = 1


@dataclass
class _Walk:
    imports: list[Import] = field(default_factory=list)
    called: list[tuple[str, int]] = field(default_factory=list)
    shells: list[tuple[str, int]] = field(default_factory=list)
    scopes: list[_Scope] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    stack: list[tuple[ast.AST, _Scope, bool]] = field(default_factory=list)


def read(source: bytes) -> Source:
    """Raises SyntaxError or ValueError when it is no Python, RecursionError or MemoryError when it nests too deep."""
    tree = ast.parse(source)
    comments, unfinished = _comments(source)
    module = _Scope("", 0)
    walk = _Walk(stack=[(tree, module, False)])
    while walk.stack:
        _step(walk, *walk.stack.pop())
    measured = [
        Measured(scope.name, scope.line, scope.complexity)
        for scope in sorted(walk.scopes, key=lambda scope: (-scope.complexity, scope.line, scope.name))
    ]
    return Source(
        lines=source.count(b"\n") + (not source.endswith(b"\n") and bool(source)),
        comments=comments,
        unfinished=unfinished,
        functions=len(measured),
        imports=tuple(sorted(walk.imports, key=lambda found: (found.line, found.module))),
        calls=_dangerous(walk),
        most_complex=measured[0] if measured else None,
    )


def _comments(source: bytes) -> tuple[int, int]:
    """How many comments there are, and how many of them name something unfinished."""
    comments = unfinished = 0
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            if token.type == tokenize.COMMENT:
                comments += 1
                unfinished += bool(_UNFINISHED.search(token.string))
    except tokenize.TokenError:
        pass  # it parsed, so the tokens so far are sound: the tokenizer is stricter about the last line
    return comments, unfinished


def _step(walk: _Walk, node: ast.AST, scope: _Scope, is_optional: bool) -> None:
    """Note what `node` is, then put its children on the stack."""
    kind = type(node)
    if kind in _NAMES_ONLY:
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        _note_import(walk, node, is_optional)
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        walk.bound.add(node.name)
        inner = _Scope(f"{scope.name}.{node.name}".lstrip("."), node.lineno)
        walk.scopes.append(inner)
        outside = (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults))
        walk.stack.extend((child, scope, is_optional) for child in outside)
        walk.stack.extend((child, inner, True) for child in node.body)
        return
    if isinstance(node, ast.ClassDef):
        inner = _Scope(f"{scope.name}.{node.name}".lstrip("."), node.lineno)
        walk.bound.add(node.name)
        walk.stack.extend((member, inner, is_optional) for member in ast.iter_child_nodes(node))
        return
    if isinstance(node, ast.Try | ast.TryStar):
        is_optional = is_optional or _handles_import_errors(node)
    elif isinstance(node, ast.If):
        is_optional = True
    elif isinstance(node, ast.Call):
        _note_call(walk, node)
    scope.complexity += _branches(node)
    walk.stack.extend((child, scope, is_optional) for child in ast.iter_child_nodes(node))


_NAMES_ONLY = frozenset({ast.Name, ast.Constant, ast.Load, ast.Store, ast.Del, ast.alias, ast.Pass})


def _branches(node: ast.AST) -> int:
    """How many more ways lead through `node`."""
    match node:
        case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While() | ast.ExceptHandler():
            return 1
        case ast.BoolOp():
            return len(node.values) - 1
        case ast.comprehension():
            return 1 + len(node.ifs)
        case ast.match_case():
            is_wildcard = isinstance(node.pattern, ast.MatchAs) and node.pattern.pattern is None
            return 0 if is_wildcard and node.guard is None else 1
        case _:
            return 0


def _note_import(walk: _Walk, node: ast.Import | ast.ImportFrom, is_optional: bool) -> None:
    if isinstance(node, ast.Import):
        for name in node.names:
            walk.imports.append(Import(name.name.split(".")[0], node.lineno, is_optional))
            walk.aliases[name.asname or name.name.split(".")[0]] = name.name if name.asname else name.name.split(".")[0]
        return
    if node.level == 0 and node.module:
        walk.imports.append(Import(node.module.split(".")[0], node.lineno, is_optional))
    for name in node.names:
        origin = f"{node.module or ''}.{name.name}" if node.level == 0 else f".{name.name}"
        walk.aliases[name.asname or name.name] = origin


def _note_call(walk: _Walk, node: ast.Call) -> None:
    name = _dotted(node.func)
    if not name:
        return
    walk.called.append((name, node.lineno))
    for keyword in node.keywords:
        if keyword.arg == "shell" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True:
            walk.shells.append((name, node.lineno))


def _dangerous(walk: _Walk) -> tuple[Call, ...]:
    """Calls by their real names, which are known once all imports were seen."""
    found: list[Call] = []
    for name, line in walk.called:
        if name in _EXECUTE and name not in walk.bound and name not in walk.aliases:
            found.append(Call(name, line))
        elif what := _DANGEROUS.get(_resolved(walk, name), ""):
            found.append(Call(what, line))
    for name, line in walk.shells:
        module, _, function = _resolved(walk, name).rpartition(".")
        if module == "subprocess" and function in _SHELL:
            found.append(Call("shell=True", line))
    return tuple(sorted(found, key=lambda call: (call.line, call.what)))


def _resolved(walk: _Walk, name: str) -> str:
    first, dot, rest = name.partition(".")
    return f"{walk.aliases[first]}{dot}{rest}" if first in walk.aliases else ""


def _dotted(node: ast.expr) -> str:
    """`a.b` for an attribute of a name, `a` for a name, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def _handles_import_errors(node: ast.Try | ast.TryStar) -> bool:
    for handler in node.handlers:
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(kind is None or (isinstance(kind, ast.Name) and kind.id in _IMPORT_ERRORS) for kind in caught):
            return True
    return False
