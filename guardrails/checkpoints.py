"""Checkpoints of audit logs: signed lines in a file, each with a tenant's last record at that time.

A file begins with a line that names the records without keys, which earlier versions wrote. Each line has the MAC of
the line before it, so lines can't be removed from the middle. The database remembers how many lines were written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock

from pydantic import BaseModel, ConfigDict, ValidationError

from flightloop.audit_chain import GENESIS
from guardrails.audit_keys import AuditKey, AuditKeys

PURPOSE = "audit checkpoint"
MOST_PROBLEMS = 20


class Checkpoint(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    file: str
    """Id of the file, the same in all lines."""
    number: int
    """0 for the first line."""
    at: str
    """Time in UTC, ISO 8601."""
    tenant_id: str | None = None
    """None in the first line."""
    seq: int = 0
    """Number of the tenant's last record, and so the number of its records."""
    sha256: str = ""
    """Digest of that record."""
    begins: dict[str, tuple[int, str]] | None = None
    """In the first line: by tenant, seq and digest of the last record without a key."""
    previous: str
    """MAC of the line before."""
    key_id: str
    mac: str = ""

    @classmethod
    def signed(cls, key: AuditKey, before: Checkpoint | None, **fields: object) -> Checkpoint:
        """The line that follows ``before``."""
        number, previous = (before.number + 1, before.mac) if before else (0, GENESIS)
        draft = cls.model_validate({**fields, "number": number, "previous": previous, "key_id": key.id})
        return draft.model_copy(update={"mac": key.mac(PURPOSE, draft.text)})

    @property
    def text(self) -> str:
        """The signed fields."""
        return json.dumps(self.model_dump(mode="json", exclude={"mac"}), sort_keys=True, separators=(",", ":"))

    @property
    def line(self) -> str:
        return self.model_dump_json(exclude_defaults=True) + "\n"

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(self.at)


@dataclass
class Checkpoints:
    """The lines of a file, and what is wrong with them."""

    lines: list[Checkpoint] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def last(self) -> Checkpoint | None:
        return self.lines[-1] if self.lines else None

    @property
    def begins(self) -> Mapping[str, tuple[int, str]]:
        """By tenant: the last record without a key."""
        return (self.lines[0].begins or {}) if self.lines else {}

    @property
    def tenants(self) -> set[str]:
        return {*self.begins, *(line.tenant_id for line in self.lines if line.tenant_id is not None)}

    def of(self, tenant_id: str) -> list[Checkpoint]:
        return [line for line in self.lines if line.tenant_id == tenant_id]


@dataclass
class _Parsed:
    """Whole lines that were read so far, and what the next one is compared with."""

    found: Checkpoints = field(default_factory=Checkpoints)
    latest: dict[str, int] = field(default_factory=dict)
    rank: int = -1
    place: int = 0
    """Lines so far, also such that are no checkpoints."""

    def take(self, whole: Sequence[str], ring: Sequence[AuditKey]) -> None:
        found = self.found
        for place, one in _read(whole, found, self.place + 1):
            fault, self.rank = _fault(one, found.last, ring, self.rank)
            if fault is None and one.tenant_id is not None and one.seq <= self.latest.get(one.tenant_id, 0):
                fault = f"covers record {one.seq} after a checkpoint that covered record {self.latest[one.tenant_id]}"
            if fault is not None and len(found.problems) < MOST_PROBLEMS:
                found.problems.append(f"checkpoint {one.number} (line {place}) {fault}")
            if one.tenant_id is not None:
                self.latest[one.tenant_id] = max(one.seq, self.latest.get(one.tenant_id, 0))
            found.lines.append(one)
        self.place += len(whole)

    def until(self, torn: str) -> Checkpoints:
        """The lines so far, if ``torn`` follows them. They don't change any more."""
        found = Checkpoints(list(self.found.lines), list(self.found.problems), list(self.found.notes))
        if torn:
            found.notes.append("the last line of the checkpoints is incomplete, as after a power failure")
        return found


_NOTHING = 0, hashlib.sha256(b"").digest()


class CheckpointFile:
    """Reads a file of checkpoints again only when it has changed, and then parses only what was appended.

    The part before is compared by its hash: if it has changed, everything is parsed and checked again. Thread-safe.
    """

    def __init__(self, path: Path, keys: AuditKeys) -> None:
        self.path = path
        self._keys = keys
        self._lock = Lock()
        self._read: tuple[object, Checkpoints] | None = None
        self._ids: tuple[str, ...] = ()
        self._before = _NOTHING
        """Size and hash of the part that ``_parsed`` has."""
        self._parsed = _Parsed()

    def read(self) -> Checkpoints:
        with self._lock:
            try:
                found = self.path.stat()
            except OSError:
                return read_checkpoints(self.path, self._keys)
            ring = self._keys.ring()
            ids = tuple(key.id for key in ring)
            # The time of the last status change can't be set, unlike that of the last modification.
            seen = found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino, ids
            if self._read is None or self._read[0] != seen:
                self._read = seen, self._again(ids, ring)
            return self._read[1]

    def _again(self, ids: tuple[str, ...], ring: Sequence[AuditKey]) -> Checkpoints:
        try:
            data = self.path.read_bytes()
            size, sha256 = self._before
            if ids != self._ids or hashlib.sha256(memoryview(data)[:size]).digest() != sha256:
                self._ids, self._parsed, self._before, size = ids, _Parsed(), _NOTHING, 0
            end = data.rfind(b"\n") + 1
            *whole, _ = data[size:end].decode().split("\n")
            torn = data[end:].decode()
        except (OSError, UnicodeError):
            return read_checkpoints(self.path, self._keys)
        self._parsed.take(whole, ring)
        self._before = end, hashlib.sha256(memoryview(data)[:end]).digest()
        return _unless_empty(self._parsed.until(torn), self.path)


def read_checkpoints(path: Path, keys: AuditKeys) -> Checkpoints:
    """Reads and checks a file of checkpoints. Problems are part of the result."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Checkpoints(problems=[f"{path} is missing: without checkpoints, removed records can't be found"])
    except (OSError, UnicodeError) as error:
        return Checkpoints(problems=[f"{path} cannot be read: {error}"])
    return _unless_empty(parse(text, keys.ring()), path)


def parse(text: str, ring: Sequence[AuditKey]) -> Checkpoints:
    """Checks the lines of a file of checkpoints."""
    parsed = _Parsed()
    *whole, torn = text.split("\n")
    parsed.take(whole, ring)
    return parsed.until(torn)


def _unless_empty(found: Checkpoints, path: Path) -> Checkpoints:
    if not found.lines and not found.problems:
        found.problems.append(f"{path} is empty: without checkpoints, removed records can't be found")
    return found


def _read(lines: Iterable[str], found: Checkpoints, first: int) -> Iterable[tuple[int, Checkpoint]]:
    for place, line in enumerate(lines, start=first):
        try:
            yield place, Checkpoint.model_validate_json(line)
        except ValidationError:
            # A write that a power failure cut off leaves half a line. It hides nothing: numbers must continue.
            told = found.notes if line.startswith('{"file":') and not line.endswith("}") else found.problems
            if len(told) < MOST_PROBLEMS:
                told.append(f"line {place} of the checkpoints is not a checkpoint")


def _fault(one: Checkpoint, before: Checkpoint | None, ring: Sequence[AuditKey], rank: int) -> tuple[str | None, int]:
    """Problem of a line, or None, and the place of its key in the ring."""
    known = {key.id: place for place, key in enumerate(ring)}
    place = known.get(one.key_id, -1)
    expected = before.number + 1 if before else 0
    if place < 0:
        return f"was signed with the unknown key {one.key_id}", rank
    if not ring[place].signed(one.mac, PURPOSE, one.text):
        return "was changed: its signature is not valid", rank
    if place < rank:
        return "was signed with an older key than the checkpoint before it", rank
    if one.number != expected:
        return f"follows checkpoint {expected - 1}: lines were removed, added or moved", place
    if one.previous != (before.mac if before else GENESIS) or (before and one.file != before.file):
        return "does not continue the line before it", place
    if (one.tenant_id is None) != (one.number == 0):
        return "does not belong here", place
    return None, place
