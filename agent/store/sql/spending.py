"""Used and reserved amounts, as SQL statements on one connection."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import sha256
from typing import Any

from agent.store.backend import Reserved
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from flightloop.usage import Amounts

DAY, SESSION, SUBJECT = "day", "session", "subject"
_AMOUNTS = tuple(Amounts.model_fields)
_SUMS = ", ".join(f"COALESCE(SUM({name}), 0)" for name in _AMOUNTS)
SPEND = Statement(
    f"""
    INSERT INTO spending (tenant_id, scope, name, {", ".join(_AMOUNTS)})
    VALUES (:tenant_id, :scope, :name, {", ".join(f":{name}" for name in _AMOUNTS)})
    ON CONFLICT (tenant_id, scope, name)
    DO UPDATE SET {", ".join(f"{name} = spending.{name} + excluded.{name}" for name in _AMOUNTS)}
    """
)
SPENT_SINCE = Statement(
    f"SELECT {_SUMS} FROM spending WHERE tenant_id = :tenant_id AND scope = '{DAY}' AND name >= :day"
)
SPENT_IN_SESSION = Statement(
    f"SELECT {_SUMS} FROM spending WHERE tenant_id = :tenant_id AND scope = '{SESSION}' AND name = :session_id"
)
SPENT_BY_SUBJECT = Statement(
    f"""
    SELECT {_SUMS} FROM spending
    WHERE tenant_id = :tenant_id AND scope = '{SUBJECT}' AND name >= :first AND name <= :last
    """
)
RESERVED = Statement(
    f"""
    SELECT {_SUMS} FROM reservations
    WHERE tenant_id = :tenant_id AND id <> :but AND NOT AMONG(holder, :gone) [AND session_id = :session_id]
      [AND subject_id = :subject_id]
    """
)
_OWNER = ("id", "tenant_id", "session_id", "holder", "subject_id")
GET = Statement(f"SELECT {', '.join((*_OWNER, *_AMOUNTS))} FROM reservations WHERE id = :id")
ADD = Statement.insert("reservations", *_OWNER, *_AMOUNTS)
DROP = Statement("DELETE FROM reservations WHERE id = :id")
DROP_HELD_BY = Statement("DELETE FROM reservations WHERE AMONG(holder, :holders)")
HOLDERS = Statement("SELECT DISTINCT holder FROM reservations")


LAST_DAY = "9999-12-31"


class SqlSpending:
    """The part of ``agent.store.backend.Transaction`` that stores the ledger."""

    _connection: Connection

    def spend(
        self, tenant_id: str, session_id: str | None, day: str, used: Amounts, subject: str | None = None
    ) -> None:
        counted = [{"tenant_id": tenant_id, "scope": DAY, "name": day, **used.model_dump()}]
        if session_id is not None:
            counted.append({**counted[0], "scope": SESSION, "name": session_id})
        if subject is not None:
            counted.append({**counted[0], "scope": SUBJECT, "name": on_day(subject, day)})
        self._connection.write_all(SPEND, counted)

    def spent_since(self, tenant_id: str, day: str) -> Amounts:
        return self._sum(SPENT_SINCE, tenant_id=tenant_id, day=day)

    def spent_in_session(self, tenant_id: str, session_id: str) -> Amounts:
        return self._sum(SPENT_IN_SESSION, tenant_id=tenant_id, session_id=session_id)

    def spent_by_subject(self, tenant_id: str, subject: str, day: str) -> Amounts:
        return self._sum(
            SPENT_BY_SUBJECT, tenant_id=tenant_id, first=on_day(subject, day), last=on_day(subject, LAST_DAY)
        )

    def reserved(
        self,
        tenant_id: str,
        session_id: str | None,
        but: str = "",
        gone: Collection[str] = (),
        subject: str | None = None,
    ) -> Amounts:
        given = {"tenant_id": tenant_id, "session_id": session_id, "subject_id": subject}
        return self._sum(RESERVED, **given, but=but, gone=gone)

    def _sum(self, query: Statement, **given: Any) -> Amounts:
        return _amounts(self._connection.rows(query, **given)[0])

    def reservation(self, reservation_id: str) -> Reserved | None:
        found = self._connection.row(GET, id=reservation_id)
        if found is None:
            return None
        key, tenant_id, session_id, holder, subject, *amounts = found
        return Reserved(key, tenant_id, session_id, holder, _amounts(amounts), subject)

    def save_reservation(self, reserved: Reserved) -> None:
        self.drop_reservation(reserved.id)
        owner = {"id": reserved.id, "tenant_id": reserved.tenant_id, "session_id": reserved.session_id}
        owner |= {"holder": reserved.holder, "subject_id": reserved.subject}
        self._connection.write(ADD, **owner, **reserved.amounts.model_dump())

    def drop_reservation(self, reservation_id: str) -> None:
        self._connection.write(DROP, id=reservation_id)

    def drop_reservations(self, holders: Collection[str]) -> None:
        self._connection.write(DROP_HELD_BY, holders=holders)

    def reservers(self) -> list[str]:
        return self._connection.column(HOLDERS)


def on_day(subject: str, day: str) -> str:
    """Name of a subject's usage on a day, of limited length."""
    return f"{sha256(subject.encode()).hexdigest()}:{day}"


def _amounts(found: Sequence[Any]) -> Amounts:
    return Amounts.model_validate(dict(zip(_AMOUNTS, found, strict=True)))
