"""One report of the answers of `package-audit@1`: totals, licences, and the findings that stand out.

Invariant: pure, and the order in which answers come changes nothing; an answer of another shape is
a ValueError that says so. Neighbours: `environment_audit` gathers the answers.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

SHOWN_MAX = 20
MOST_COMPLEX_SHOWN = 10

Value = Mapping[str, object]


def consolidate(results: Sequence[Value], failures: Sequence[Value] = ()) -> dict[str, object]:
    """One report of all pieces; the same results in any order give the same report."""
    results = sorted(results, key=lambda result: (str(result["kind"]), str(result["name"])))
    distributions = [result for result in results if result["kind"] == "distribution"]
    verdicts = Counter(str(as_value(result["licence"])["verdict"]) for result in distributions)
    kinds: Counter[str] = Counter()
    for result in results:
        kinds.update({kind: as_int(count) for kind, count in _in(result, "dangerous_calls", "by_kind").items()})
    return {
        "pieces": len(results),
        "distributions": len(distributions),
        "stdlib": len(results) - len(distributions),
        "failed": sorted(failures, key=lambda failure: (str(failure["kind"]), str(failure["name"]))),
        "files": sum(as_int(result["files"]) for result in results),
        "size_bytes": sum(as_int(result["size_bytes"]) for result in results),
        "python": {
            name: sum(as_int(_in(result, "python")[name]) for result in results)
            for name in ("files", "lines", "functions", "comments", "unfinished")
        },
        "licences": dict(sorted(_licences(distributions).items(), key=lambda pair: (-pair[1], pair[0]))),
        "licence_verdicts": dict(sorted(verdicts.items())),
        "licences_to_look_at": [
            {"name": result["name"], **as_value(result["licence"])}
            for result in distributions
            if as_value(result["licence"])["verdict"] != "agrees"
        ],
        "hashes_verified": sum(as_int(_in(result, "record")["verified"]) for result in results),
        "altered": _gathered(results, "record", "altered"),
        "missing": _gathered(results, "record", "missing"),
        "undeclared_imports": _undeclared(results),
        "dangerous_calls": {"by_kind": dict(sorted(kinds.items())), "most": _most_dangerous(results)},
        "most_complex": _most_complex(results),
        "unreadable": _gathered(results, "unreadable"),
    }


def as_value(value: object) -> Value:
    """`value`, which is an object of the answer. Raises ValueError when it is not."""
    if not isinstance(value, Mapping):
        raise ValueError(f"package-audit@1 answered {type(value).__name__} where an object was due")
    return value


def as_int(value: object) -> int:
    """`value`, which is a number of the answer. Raises ValueError when it is not."""
    if not isinstance(value, int):
        raise ValueError(f"package-audit@1 answered {type(value).__name__} where a number was due")
    return value


def _in(result: Value, *path: str) -> Value:
    for name in path:
        result = as_value(result[name])
    return result


def _listed(found: Value) -> list[object]:
    first = found["first"]
    return list(first) if isinstance(first, Sequence) else []


def _gathered(results: Sequence[Value], *path: str) -> dict[str, object]:
    """One sort of finding over all pieces: how many, and the first of them with the piece's name."""
    found = [(result["name"], _in(result, *path)) for result in results]
    first = [{"piece": name, "found": item} for name, one in found for item in _listed(one)]
    return {"count": sum(as_int(one["count"]) for _, one in found), "first": first[:SHOWN_MAX]}


def _undeclared(results: Sequence[Value]) -> dict[str, object]:
    """Imports that always happen before those that may fail or never run; counted apart."""
    found = [
        {"piece": result["name"], **as_value(item)}
        for result in results
        if result["kind"] == "distribution"
        for item in _listed(_in(result, "undeclared_imports"))
    ]
    always = [item for item in found if not item["optional"]]
    return {"always": len(always), "optional": len(found) - len(always), "first": always[:SHOWN_MAX]}


def _licences(distributions: Sequence[Value]) -> Counter[str]:
    """Distributions that carry the text of each licence; one may carry several. Without a known text: as declared."""
    counted: Counter[str] = Counter()
    for result in distributions:
        licence = as_value(result["licence"])
        recognised = licence["recognised"]
        names = [str(name) for name in recognised] if isinstance(recognised, Sequence) else []
        counted.update(names or [f"{licence['declared'] or 'none'} (declared only)"])
    return counted


def _most_dangerous(results: Sequence[Value]) -> list[dict[str, object]]:
    found = [
        {"piece": result["name"], "count": count, "first": _listed(calls)[0]}
        for result in results
        if (count := as_int((calls := _in(result, "dangerous_calls"))["count"]))
    ]
    return sorted(found, key=lambda item: (-as_int(item["count"]), str(item["piece"])))[:MOST_COMPLEX_SHOWN]


def _most_complex(results: Sequence[Value]) -> list[dict[str, object]]:
    found = [{"piece": result["name"], **as_value(most)} for result in results if (most := result["most_complex"])]
    return sorted(found, key=lambda item: (-as_int(item["complexity"]), str(item["piece"])))[:MOST_COMPLEX_SHOWN]
