"""Marks by which lines of files belong to erased runs: ids of runs and traces, the subject, and what was asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from flightloop.content import text_of
from flightloop.runs import Run
from observability.trace_id import trace_id_of

_HEX = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
"""The variable part of a run's id, or a trace's id."""
LONG = 24
"""Characters of an input by which a training row without the id of its run is found. Shorter ones are not unique."""


@dataclass
class Marks:
    """Collects the marks of runs. A run takes about 200 bytes."""

    subject: str | None = None
    """Id of the subject, by which tasks are found; None if it may be another tenant's, too."""
    runs: set[str] = field(default_factory=set)
    ids: set[bytes] = field(default_factory=set)
    """Hexadecimal parts of ids of runs and traces."""
    asked: set[bytes] = field(default_factory=set)
    """Digests of inputs."""

    def add(self, run: Run) -> None:
        self.runs.add(run.id)
        self.ids |= {run.id.rpartition("_")[2].encode(), trace_id_of(run.id, run.traceparent).encode()}
        if run.erased_at is None and len(text := _plain(text_of(run.input))) >= LONG:
            self.asked.add(_digest(text))

    def has_line(self, line: bytes) -> bool:
        """Whether a line of a log or trace belongs to a run."""
        return not self.ids.isdisjoint(_HEX.findall(line))

    def has_row(self, row: Any) -> bool:
        """Whether a row of a data set was made from a run, or a task from one."""
        if not isinstance(row, dict):
            return False
        if not self.runs.isdisjoint(_ids(row)):
            return True
        subject = row.get("subject")
        if self.subject is not None and self.subject in (subject, isinstance(subject, dict) and subject.get("id")):
            return True
        return bool(self.asked) and not self.asked.isdisjoint(map(_digest, _asked(row)))


def _ids(row: dict[str, Any]) -> Iterable[str]:
    found = [row.get("id"), *(row["runs"] if isinstance(row.get("runs"), list) else ())]
    return [one for one in found if isinstance(one, str)]


def _asked(row: dict[str, Any]) -> Iterable[str]:
    """Texts of users in a training row or task."""
    for message in (*_list(row.get("messages")), *_list(row.get("turns"))):
        if not isinstance(message, dict):
            continue
        said = message.get("content") if message.get("role") == "user" else message.get("user")
        texts = (
            [said] if isinstance(said, str) else [part.get("text") for part in _list(said) if isinstance(part, dict)]
        )
        yield from (plain for text in texts if isinstance(text, str) and len(plain := _plain(text)) >= LONG)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _plain(text: str) -> str:
    return " ".join(text.split())


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()
