"""Events of runs, as SQL statements on one connection."""

from __future__ import annotations

from collections.abc import Sequence

from agent.run.journal import Recorded
from agent.store.rules.page import EVENT_CHARS, page
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from flightloop.events import RunEvent, run_event

ADD = Statement.insert("events", "tenant_id", "run_id", "seq", "document")
OF_RUN = Statement("SELECT document FROM events WHERE run_id = :run_id AND seq > :after ORDER BY seq LIMIT :most")
ALL = Statement(
    """
    SELECT events.position, tenant_id, document FROM events
    WHERE events.position > :after ORDER BY events.position LIMIT :most
    """
)
DROP_LAST = Statement(
    """
    DELETE FROM events WHERE events.position IN (
      SELECT events.position FROM events WHERE run_id = :run_id ORDER BY seq DESC LIMIT :most
    )
    """
)


class SqlEvents:
    """The part of ``agent.store.backend.Transaction`` that stores events."""

    _connection: Connection

    def add_events(self, tenant_id: str, events: Sequence[RunEvent], documents: Sequence[str] | None = None) -> None:
        if documents is None:
            documents = [event.model_dump_json() for event in events]
        rows = [
            {"tenant_id": tenant_id, "run_id": event.run_id, "seq": event.seq, "document": document}
            for event, document in zip(events, documents, strict=True)
        ]
        self._connection.write_all(ADD, rows)

    def events(self, run_id: str, after: int, limit: int) -> list[RunEvent]:
        found = self._connection.rows(OF_RUN, run_id=run_id, after=after, most=limit)
        documents, _ = page(found, limit, lambda row: len(row[0]), EVENT_CHARS)
        return [run_event.validate_json(document) for (document,) in documents]

    def read_all(self, after: int, limit: int) -> list[Recorded]:
        with self._connection.each(ALL, after=after, most=limit) as rows:
            found, _ = page(rows, limit, lambda row: len(row[2]))
        return [Recorded(position, tenant, run_event.validate_json(document)) for position, tenant, document in found]

    def drop_events(self, run_id: str, limit: int) -> int:
        return self._connection.write(DROP_LAST, run_id=run_id, most=limit)
