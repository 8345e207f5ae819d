"""What is used and reserved, as SQL statements on one connection."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, select, text

from agent.store.backend import Reserved
from agent.store.sql import tables as t
from agent.store.sql.prepared import Prepared
from flightloop.usage import Amounts

DAY, SESSION = "day", "session"
_SPEND = Prepared(
    text(
        "INSERT INTO spending (tenant_id, scope, name, steps, tokens, seconds, cost)"
        " VALUES (:tenant_id, :scope, :name, :steps, :tokens, :seconds, :cost)"
        " ON CONFLICT (tenant_id, scope, name) DO UPDATE SET steps = spending.steps + excluded.steps,"
        " tokens = spending.tokens + excluded.tokens, seconds = spending.seconds + excluded.seconds,"
        " cost = spending.cost + excluded.cost"
    )
)
"""The same in both databases' words."""


class SqlSpending:
    """The part of ``agent.store.backend.Transaction`` that the ledger is kept with."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def spend(self, tenant_id: str, session_id: str | None, day: str, used: Amounts) -> None:
        counted = [{"tenant_id": tenant_id, "scope": DAY, "name": day, **used.model_dump()}]
        if session_id is not None:
            counted.append({**counted[0], "scope": SESSION, "name": session_id})
        _SPEND.write(self._connection, counted)

    def spent_since(self, tenant_id: str, day: str) -> Amounts:
        spending = t.spending.c
        return self._sum(t.spending, spending.tenant_id == tenant_id, spending.scope == DAY, spending.name >= day)

    def spent_in_session(self, tenant_id: str, session_id: str) -> Amounts:
        own = (t.spending.c.tenant_id == tenant_id, t.spending.c.scope == SESSION, t.spending.c.name == session_id)
        return self._sum(t.spending, *own)

    def reserved(self, tenant_id: str, session_id: str | None, but: str = "", gone: Collection[str] = ()) -> Amounts:
        held = t.reservations.c
        wanted = [held.tenant_id == tenant_id, held.id != but, held.holder.not_in(gone)]
        return self._sum(t.reservations, *wanted, *([held.session_id == session_id] if session_id is not None else []))

    def _sum(self, table: Table, *where: ColumnElement[bool]) -> Amounts:
        sums = [func.coalesce(func.sum(table.c[name]), 0).label(name) for name in Amounts.model_fields]
        return Amounts.model_validate(dict(self._connection.execute(select(*sums).where(*where)).mappings().one()))

    def reservation(self, reservation_id: str) -> Reserved | None:
        query = select(t.reservations).where(t.reservations.c.id == reservation_id)
        found = self._connection.execute(query).mappings().one_or_none()
        if found is None:
            return None
        amounts = Amounts.model_validate(dict(found))
        return Reserved(found["id"], found["tenant_id"], found["session_id"], found["holder"], amounts)

    def save_reservation(self, reserved: Reserved) -> None:
        self.drop_reservation(reserved.id)
        owner = {"id": reserved.id, "tenant_id": reserved.tenant_id, "session_id": reserved.session_id}
        values = {**owner, "holder": reserved.holder, **reserved.amounts.model_dump()}
        self._connection.execute(insert(t.reservations).values(values))

    def drop_reservation(self, reservation_id: str) -> None:
        self._connection.execute(delete(t.reservations).where(t.reservations.c.id == reservation_id))

    def drop_reservations(self, holders: Collection[str]) -> None:
        self._connection.execute(delete(t.reservations).where(t.reservations.c.holder.in_(holders)))

    def reservers(self) -> list[str]:
        return list(self._connection.execute(select(t.reservations.c.holder).distinct()).scalars())
