"""Rows of a task's history as the API tells them: awards that ended, results that came too late, ends that were undone.

Invariant: as in `schemas`, which puts them into a task: field names are promised to scripts.
"""

from typing import Any

from msgspec import Struct


class AttemptView(Struct, frozen=True):
    """One award that ended without an end of the task: who held it, and why it moved on."""

    epoch: int
    owner: str
    owner_name: str
    ended: str
    at_ms: int
    detail: str = ""


class RefusedResult(Struct, frozen=True):
    """A result that came too late to be committed: whose it was, of which award, and what it said."""

    epoch: int
    owner: str
    owner_name: str
    at_ms: int
    result: Any


class RetryView(Struct, frozen=True):
    """An end that was undone: who had the task opened again, and how its last award had ended it.

    `state` is that end; `error` its code and sentence in one line, empty for a cancel.
    """

    at_ms: int
    by: str
    state: str
    epoch: int
    owner: str
    owner_name: str
    error: str
