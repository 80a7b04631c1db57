"""`meshctl peers --all-views`: who sees what, and whom they do not agree about."""

from collections.abc import Sequence

from cli.client import Client
from cli.output import Item, count, listing, note, table, write
from cli.session import Session
from meshd.observe.text import shown

NAMES_MAX = 8  # of those who have one view: the others are counted


def show_views(session: Session, *, is_all: bool) -> None:
    """Ask every node, and print the views and the nodes that are seen otherwise; the JSON is that of the API."""
    answer = Client(session).get("v1", "views", all="true" if is_all else None)
    value: Item = answer.value
    subjects: Sequence[Item] = value["subjects"]
    if session.output != "table":
        listing(session, answer, subjects, (), name=lambda each: each["name"], empty="")
        if value["more"]:
            note(session, f"and {count(value['more'], 'node')} more")
        return
    write(f"{_sentence(value)}\n")
    views: Sequence[Item] = value["views"]
    if len(views) > 1 or is_all:
        rows = [
            [_number(n, view), str(len(view["held_by"])), str(view["alive"]), _names(view)]
            for n, view in _numbered(views)
        ]
        write("\n")
        table(session, ("VIEW", "HELD BY", "ALIVE", "WHO HAS IT"), rows)
    if subjects:
        told = [_number(n, view) for n, view in _numbered(views) if view["told"]]
        write("\n")
        table(session, ("NODE", *told), [[shown(str(each["name"])), *_seen(each)] for each in subjects])
    if value["more"]:
        write(f"and {count(value['more'], 'node')} more\n")


def _sentence(value: Item) -> str:
    views = value["views"]
    silent, refused = ([shown(str(name)) for name in value.get(key, ())] for key in ("silent", "refused"))
    heard = sum(len(view["held_by"]) for view in views)
    if heard == 1:
        said = "no other node said what it sees" if silent or refused else "there is no other node in view"
    elif len(views) == 1:
        said = f"all {heard} nodes that answered see the same {count(views[0]['alive'], 'node')}"
    else:
        said = f"{heard} nodes have {len(views)} views of the mesh"
    quiet = f"; no answer from {_some(silent)}" if silent else ""
    refusing = f"; {_some(refused)} refused, asked too often: ask again in {value['again_s']:g} s" if refused else ""
    unasked = f"; {value['unasked']} were not asked" if value["unasked"] else ""
    return said + quiet + refusing + unasked


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(names[:NAMES_MAX]) + more


def _numbered(views: Sequence[Item]) -> list[tuple[int, Item]]:
    return list(enumerate(views, start=1))


def _number(number: int, view: Item) -> str:
    """This node's own view bears the mark that this node bears in `meshctl peers`."""
    return f"{number} *" if view["ours"] else str(number)


def _names(view: Item) -> str:
    names = [shown(str(name)) for name in view["held_by"]]
    untold = "" if view["told"] else " (whom they see was not told)"
    return _some(names) + untold


def _seen(subject: Item) -> list[str]:
    """How each view has it; where they have other lives of it, which one."""
    lives = {sight["life"] for sight in subject["seen"] if sight["life"]}
    return [
        f"{sight['state']} (life {sight['life']})" if len(lives) > 1 and sight["life"] else str(sight["state"])
        for sight in subject["seen"]
    ]
