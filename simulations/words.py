"""The words of a command line, read strictly: what is wrong with one is one sentence and what to try, exit code 2.

Invariant: says no more than the two lines, or the JSON object, of every other refusal. Neighbours: `command`,
`postmortem` and `grids.command` say what words there are.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from simulations.scenario import ScenarioError
from simulations.visible import visible
from simulations.wording import meant

SEED_MAX = 1 << 63
COUNT_MAX = 1_000  # processes, lines
_CHOICE = re.compile(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)
_VALUE = re.compile(r"argument (\S+): (.*)", re.DOTALL)
_MISSING = "the following arguments are required: "


class Words(argparse.ArgumentParser):
    """A parser whose refusals read as all others do, and to which the beginning of an option is none."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how, allow_abbrev=False)

    def refuse(self, word: str) -> NoReturn:
        """A word that is left over. Raises Misuse."""
        near = get_close_matches(word.partition("=")[0], self._option_string_actions, n=1)
        raise Misuse(f"{word!r} is not known here{f'; did you mean {near[0]}?' if near else ''}", self.prog)

    def error(self, message: str) -> NoReturn:
        """Raises Misuse."""
        raise Misuse(_said(message), self.prog)


class Misuse(Exception):
    """Words that `program` does not take."""

    def __init__(self, problem: str, program: str) -> None:
        super().__init__(problem)
        self.cure = f"{program} --help"


def say(code: str, problem: str, cure: str, *, is_json: bool) -> None:
    """A refusal on stderr, as every command says it: two lines, or one JSON object."""
    if is_json:
        said = {"code": code, "message": problem, "hint": cure, "rule": "", "node": "", "iid": ""}
        print(json.dumps({"error": said}), file=sys.stderr)
    else:
        print(f"error[{code}]: {visible(problem)}\ntry: {cure}", file=sys.stderr)


def wants_json(words: Sequence[str]) -> bool:
    """Do these ask for JSON, whether or not they are right otherwise?"""
    last = ""
    for word, after in zip(words, (*words[1:], ""), strict=True):
        if word in ("-o", "--output"):
            last = after
        elif word.startswith(("-o", "--output=")):
            last = word.removeprefix("--output=").removeprefix("-o")
    return last in ("json", "jsonl")


def seed_of(text: str) -> int:
    """A seed. Raises ArgumentTypeError."""
    number = int(text) if re.fullmatch(r"[0-9]{1,19}", text, re.ASCII) else -1
    if not 0 <= number < SEED_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed, which is a whole number from 0 to {SEED_MAX - 1}")
    return number


def count_of(text: str) -> int:
    """A number of things. Raises ArgumentTypeError."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= COUNT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {COUNT_MAX}")
    return number


def seed_for(option: str, text: str) -> int:
    """The same, where no parser asks. Raises ScenarioError."""
    try:
        return seed_of(text)
    except argparse.ArgumentTypeError as error:
        raise ScenarioError(f"{option}: {error}") from None


def _said(message: str) -> str:
    """What argparse found wrong, in words of ours."""
    if found := _CHOICE.fullmatch(message):
        where, word, listed = found.groups()
        known = [each.strip(" '") for each in listed.split(",")]
        return f"{where}: there is no {word!r}; {meant(word, known)}"
    if message.startswith(_MISSING):
        return f"{message.removeprefix(_MISSING)} is missing"
    found = _VALUE.fullmatch(message)
    return f"{found[1]}: {found[2]}" if found else message
