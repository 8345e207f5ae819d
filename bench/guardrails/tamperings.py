"""Ways to tamper with an audit log: with its database, with its checkpoints, and with both."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.guardrails.audited_store import OLD, AuditedStore, more
from flightloop.audit_chain import digest
from flightloop.verdicts import AuditRecord
from guardrails.audit_keys import AuditKey
from guardrails.checkpoints import Checkpoint

WHOSE = "tenant_id = 'default'"
COLUMNS: dict[str, list[Any]] = {
    "tenant_id": ["other", "ghost"],
    "seq": [1000, 0, -3, "x"],
    "run_id": ["run_other", ""],
    "act": ["lift", "verdict", "export"],
    "actor_id": ["key_bob", None],
    "actor": ["key:bob", None],
}
"""Other values, by column of the table."""
FORGER = AuditKey(b"f" * 32)
"""Key of whoever tampers: not the platform's."""


@dataclass(frozen=True)
class Tampering:
    name: str
    do: Callable[[AuditedStore], Awaitable[None]]
    seen_by_tenants: bool = True
    """Whether a tenant's own log is concerned; the console shows no other tenant's."""


def sql(name: str, *statements: str, seen_by_tenants: bool = True) -> Tampering:
    async def do(store: AuditedStore) -> None:
        with store.connect() as database:
            for statement in statements:
                database.execute(statement)

    return Tampering(name, do, seen_by_tenants)


def tamperings(store: AuditedStore) -> Iterator[Tampering]:
    """All tamperings of a filled store."""
    with store.connect() as database:
        last: int = database.execute(f"SELECT max(seq) FROM audit WHERE {WHOSE}").fetchone()[0]
    places = {"old": 2, "verdict": _first(store, "verdict"), "stop": _first(store, "stop"), "last": last}
    yield from _columns(store, places)
    yield from _fields(store, places)
    yield from _rewritten(store, places)
    yield from _removed(last)
    yield from _added(last)
    yield from _moved(last)
    yield from _set_back(store)
    yield from _beside(store)
    yield from _checkpoints(store)


def _first(store: AuditedStore, act: str) -> int:
    with store.connect() as database:
        found = database.execute(f"SELECT min(seq) FROM audit WHERE {WHOSE} AND act = ? AND seq > ?", (act, OLD))
        return int(found.fetchone()[0])


def _columns(store: AuditedStore, places: dict[str, int]) -> Iterator[Tampering]:
    with store.connect() as database:
        for kind, seq in places.items():
            for column, values in COLUMNS.items():
                [now] = database.execute(f"SELECT {column} FROM audit WHERE {WHOSE} AND seq = ?", (seq,)).fetchone()
                other = next(value for value in values if value != now)
                yield _set(f"{column} of the record {kind}", seq, column, other)
    for value in COLUMNS["seq"][1:]:
        yield _set(f"number {value!r}", places["stop"], "seq", value)
    yield _set("tenant that nobody is", places["stop"], "tenant_id", "ghost")


def _set(name: str, seq: int, column: str, value: object) -> Tampering:
    async def do(store: AuditedStore) -> None:
        with store.connect() as database:
            if column == "tenant_id":  # the other tenant has a record with this number
                database.execute("DELETE FROM audit WHERE tenant_id = ? AND seq = ?", (value, seq))
            database.execute(f"UPDATE audit SET {column} = ? WHERE {WHOSE} AND seq = ?", (value, seq))

    return Tampering(f"edit: {name}", do)


def _fields(store: AuditedStore, places: dict[str, int]) -> Iterator[Tampering]:
    for kind, seq in places.items():
        document = _document(store, seq)
        for path in _paths(document):
            yield _edit(f"{'.'.join(map(str, path))} of the record {kind}", seq, path)
        yield _write(f"edit: a new field of the record {kind}", seq, json.dumps({**document, "note": "x"}))
    yield _write("edit: no JSON", places["stop"], "{")
    yield _write("edit: an empty document", places["stop"], "{}")


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Ways to the values of JSON data that are no containers."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in items:
            yield from _paths(one, (*path, key))
    else:
        yield path


def _edit(name: str, seq: int, path: tuple[str | int, ...]) -> Tampering:
    async def do(store: AuditedStore) -> None:
        document = _document(store, seq)
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = _other(inner[path[-1]])
        await _write("", seq, json.dumps(document, separators=(",", ":"), ensure_ascii=False)).do(store)

    return Tampering(f"edit: {name}", do)


WORDS = {"block": "allow", "ask": "allow", "redact": "block", "allow": "block", "input": "final", "key": "command"}


def _other(value: Any) -> Any:
    """A value that is as valid as the given one."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        if value in WORDS:
            return WORDS[value]
        if re.match(r"\d{4}-\d\d-\d\dT", value):
            return value.replace("2", "1", 1)
        if re.fullmatch(r"[0-9a-f]{16,}", value):
            return value.replace(value[0], "0" if value[0] != "0" else "1", 1)
        return f"{value}x"
    return ["x"] if isinstance(value, list) else {"x": "y"}


def _document(store: AuditedStore, seq: int) -> Any:
    with store.connect() as database:
        [text] = database.execute(f"SELECT document FROM audit WHERE {WHOSE} AND seq = ?", (seq,)).fetchone()
    return json.loads(text)


def _write(name: str, seq: int, document: str) -> Tampering:
    async def do(store: AuditedStore) -> None:
        with store.connect() as database:
            database.execute(f"UPDATE audit SET document = ? WHERE {WHOSE} AND seq = ?", (document, seq))

    return Tampering(name, do)


def _rewritten(store: AuditedStore, places: dict[str, int]) -> Iterator[Tampering]:
    """Edits with all later digests computed again, as whoever knows the code can do."""
    seals: dict[str, Callable[[AuditRecord], dict[str, Any]]] = {
        "their old seals": lambda record: {},
        "no seals": lambda record: {"key_id": None, "mac": None},
        "seals of another key": lambda record: {"key_id": FORGER.id, "mac": "forged"},
        "another key under the same name": lambda record: {"mac": "forged"},
    }
    for kind, seq in places.items():
        for seal, change in seals.items():
            yield Tampering(f"rewrite: from the record {kind}, with {seal}", _rewrite(seq, change))


def _rewrite(
    first: int, change: Callable[[AuditRecord], dict[str, Any]], removed: bool = False
) -> Callable[[AuditedStore], Awaitable[None]]:
    async def do(store: AuditedStore) -> None:
        with store.connect() as database:
            [last] = database.execute(f"SELECT max(seq) FROM audit WHERE {WHOSE}").fetchone()
            before = store.record("default", first - 1)
            for seq in range(first, last + 1):
                record = store.record("default", seq)
                update: dict[str, Any] = {**change(record), "seq": before.seq + 1, "previous_sha256": before.sha256}
                if seq == first:
                    update |= {"details": {"forged": True}}
                record = record.model_copy(update=update)
                sha256 = digest(record)
                mac = FORGER.mac("audit record", sha256) if record.mac == "forged" else record.mac
                before = record.model_copy(update={"sha256": sha256, "mac": mac})
                columns: dict[str, Any] = {"tenant_id": True, "seq": True, "run_id": True, "act": True}
                text = before.model_dump_json(exclude={**columns, "actor": {"id", "name"}}, exclude_defaults=True)
                database.execute(f"UPDATE audit SET document = ? WHERE {WHOSE} AND seq = ?", (text, seq))

    return do


def _removed(last: int) -> Iterator[Tampering]:
    for name, where in {
        "the first": "seq = 1",
        "an old one": "seq = 3",
        "all old ones": f"seq <= {OLD}",
        "one in the middle": f"seq = {last // 2}",
        "several in the middle": f"seq BETWEEN {last // 2} AND {last // 2 + 3}",
        "the last": f"seq = {last}",
        "the last three": f"seq > {last - 3}",
        "the later half": f"seq > {last // 2}",
        "all but the first": "seq > 1",
        "all": "seq > 0",
        "all stops": "act = 'stop'",
        "all exports": "act = 'export'",
    }.items():
        yield sql(f"remove: {name}", f"DELETE FROM audit WHERE {WHOSE} AND {where}")
    yield sql("remove: all of all tenants", "DELETE FROM audit")
    middle = last // 2
    yield sql(
        "remove: one, the later ones moved up",
        f"DELETE FROM audit WHERE {WHOSE} AND seq = {middle}",
        f"UPDATE audit SET seq = -seq WHERE {WHOSE} AND seq > {middle}",
        f"UPDATE audit SET seq = -seq - 1 WHERE {WHOSE} AND seq < 0",
    )
    yield sql(
        "remove: the first, the later ones moved up",
        f"DELETE FROM audit WHERE {WHOSE} AND seq = 1",
        f"UPDATE audit SET seq = -seq WHERE {WHOSE}",
        f"UPDATE audit SET seq = -seq - 1 WHERE {WHOSE}",
    )


def _added(last: int) -> Iterator[Tampering]:
    columns = "run_id, document, act, actor_id, actor"
    for name, (tenant, seq, source) in {
        "a copy of the last at the end": ("'default'", f"{last + 1}", last),
        "a copy of the first at the end": ("'default'", f"{last + 1}", 1),
        "a copy further on": ("'default'", f"{last + 100}", last),
        "number 0": ("'default'", "0", 1),
        "a negative number": ("'default'", "-1", 1),
        "a text as number": ("'default'", "'z'", last),
        "a fraction as number": ("'default'", "2.5", 2),
        "a copy for another tenant": ("'other'", f"{last + 100}", last),
    }.items():
        yield sql(
            f"add: {name}",
            f"INSERT INTO audit (tenant_id, seq, {columns})"
            f" SELECT {tenant}, {seq}, {columns} FROM audit WHERE {WHOSE} AND seq = {source}",
        )
    yield sql(
        "add: a tenant that is none",
        f"INSERT INTO audit (tenant_id, seq, {columns})"
        f" SELECT 'ghost', 1, {columns} FROM audit WHERE {WHOSE} AND seq = {last}",
        seen_by_tenants=False,
    )
    for name, key in {"without a seal": None, "sealed with another key": FORGER}.items():
        yield Tampering(f"add: a record that continues the log, {name}", _continue(last, key))


def _continue(last: int, key: AuditKey | None) -> Callable[[AuditedStore], Awaitable[None]]:
    async def do(store: AuditedStore) -> None:
        before = store.record("default", last)
        update = {"seq": last + 1, "previous_sha256": before.sha256, "key_id": key and key.id}
        record = before.model_copy(update=update)
        sha256 = digest(record)
        record = record.model_copy(update={"sha256": sha256, "mac": key and key.mac("audit record", sha256)})
        columns: dict[str, Any] = {"tenant_id": True, "seq": True, "run_id": True, "act": True}
        text = record.model_dump_json(exclude={**columns, "actor": {"id", "name"}}, exclude_defaults=True)
        actor = record.actor
        values = (
            "default",
            record.seq,
            record.run_id,
            text,
            record.act.value,
            actor and actor.id,
            actor and actor.name,
        )
        with store.connect() as database:
            database.execute(
                "INSERT INTO audit (tenant_id, seq, run_id, document, act, actor_id, actor) VALUES (?,?,?,?,?,?,?)",
                values,
            )

    return do


def _moved(last: int) -> Iterator[Tampering]:
    for first, second in ((1, 2), (OLD, OLD + 1), (last // 2, last // 2 + 2), (last - 1, last)):
        yield sql(
            f"move: records {first} and {second} change places",
            f"UPDATE audit SET seq = -1 WHERE {WHOSE} AND seq = {first}",
            f"UPDATE audit SET seq = {first} WHERE {WHOSE} AND seq = {second}",
            f"UPDATE audit SET seq = {second} WHERE {WHOSE} AND seq = -1",
        )
    for seq in (2, last // 2, last):
        yield sql(
            f"move: record {seq} of two tenants",
            f"UPDATE audit SET tenant_id = 'x' WHERE {WHOSE} AND seq = {seq}",
            f"UPDATE audit SET tenant_id = 'default' WHERE tenant_id = 'other' AND seq = {seq}",
            f"UPDATE audit SET tenant_id = 'other' WHERE tenant_id = 'x' AND seq = {seq}",
        )
    yield sql(
        "move: all records of two tenants",
        f"UPDATE audit SET tenant_id = 'x' WHERE {WHOSE}",
        "UPDATE audit SET tenant_id = 'default' WHERE tenant_id = 'other'",
        "UPDATE audit SET tenant_id = 'other' WHERE tenant_id = 'x'",
    )


def _set_back(store: AuditedStore) -> Iterator[Tampering]:
    for part, copy in enumerate(store.earlier[:-1], start=1):
        database, checkpoints = copy / store.database.name, copy / store.checkpoints.name
        yield Tampering(f"set back: the database to part {part}", _copied(database))
        yield Tampering(f"set back: the database to part {part}, then in use again", _copied(database, then=more))
        yield Tampering(f"set back: the checkpoints to part {part}", _copied(checkpoints))


def _copied(
    source: Path, then: Callable[[AuditedStore], Awaitable[None]] | None = None
) -> Callable[[AuditedStore], Awaitable[None]]:
    async def do(store: AuditedStore) -> None:
        shutil.copyfile(source, store.settings.home / source.name)
        if then is not None:
            await then(store)

    return do


def _beside(store: AuditedStore) -> Iterator[Tampering]:
    """Tables that the log refers to."""
    yield sql("policies: text", """UPDATE policies SET document = replace(document, 'input', 'inpux')""")
    yield sql("policies: removed", "DELETE FROM policies")
    yield sql("policies: hash", "UPDATE policies SET sha256 = replace(sha256, substr(sha256, 1, 1), 'x')")
    which = "WHERE name LIKE 'checkpoints:%'"
    yield sql("lines remembered: fewer", f"UPDATE projections SET cursor = 1, state = '{{\"to\": 1}}' {which}")
    yield sql("lines remembered: more", f"UPDATE projections SET cursor = 99, state = '{{\"to\": 99}}' {which}")
    yield sql("lines remembered: none", f"DELETE FROM projections {which}")


def _checkpoints(store: AuditedStore) -> Iterator[Tampering]:
    count = len(store.checkpoints.read_text().splitlines())
    for place in sorted({0, 1, count // 2, count - 1}):
        document = json.loads(store.checkpoints.read_text().splitlines()[place])
        for path in _paths(document):
            yield _lines(f"{'.'.join(map(str, path))} of line {place}", _changed(place, path))
        yield _lines(f"a new field of line {place}", lambda lines, at=place: _put(lines, at, {"note": "x"}))  # type: ignore[misc]
        yield _lines(f"line {place} removed", lambda lines, at=place: lines[:at] + lines[at + 1 :])  # type: ignore[misc]
        yield _lines(f"line {place} twice", lambda lines, at=place: lines[: at + 1] + lines[at:])  # type: ignore[misc]
    yield _lines("two lines change places", lambda lines: [lines[0], lines[2], lines[1], *lines[3:]])
    yield _lines("only the first line", lambda lines: lines[:1])
    yield _lines("empty", lambda lines: [])
    yield _lines("a line signed with another key", lambda lines: [*lines, _forged(lines[-1])])
    yield _lines("no checkpoint", lambda lines: [*lines, "hello"])

    async def removed(store: AuditedStore) -> None:
        store.checkpoints.unlink()

    async def torn(store: AuditedStore) -> None:
        store.checkpoints.write_bytes(store.checkpoints.read_bytes()[:-40])

    yield Tampering("checkpoints: the file removed", removed)
    yield Tampering("checkpoints: the last line cut off", torn)


def _lines(name: str, change: Callable[[list[str]], list[str]]) -> Tampering:
    async def do(store: AuditedStore) -> None:
        lines = change(store.checkpoints.read_text().splitlines())
        store.checkpoints.write_text("".join(f"{line}\n" for line in lines))

    return Tampering(f"checkpoints: {name}", do)


def _changed(place: int, path: tuple[str | int, ...]) -> Callable[[list[str]], list[str]]:
    def change(lines: list[str]) -> list[str]:
        document = json.loads(lines[place])
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = _other(inner[path[-1]])
        return [*lines[:place], json.dumps(document), *lines[place + 1 :]]

    return change


def _put(lines: list[str], place: int, fields: dict[str, Any]) -> list[str]:
    return [*lines[:place], json.dumps({**json.loads(lines[place]), **fields}), *lines[place + 1 :]]


def _forged(last: str) -> str:
    before = Checkpoint.model_validate_json(last)
    fields = before.model_dump(include={"file", "at", "tenant_id", "sha256"})
    return Checkpoint.signed(FORGER, before, seq=before.seq + 1, **fields).line.strip()
