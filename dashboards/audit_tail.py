"""Follows the audit log and checks its hash chain."""

from __future__ import annotations

from collections import deque
from threading import Lock

from flightloop import Flightloop
from flightloop.verdicts import AuditRecord

PAGE = 1000
PAGES_AT_ONCE = 5


class AuditTail:
    """Reads the audit log and keeps its latest records. Thread-safe."""

    def __init__(self, client: Flightloop, kept: int = 500) -> None:
        self._client, self._lock = client, Lock()
        self._last: AuditRecord | None = None
        self.records: deque[AuditRecord] = deque(maxlen=kept)
        self.broken_at: int | None = None
        """Sequence number of the first record that doesn't continue the one before it; None if there is none."""
        self.read = 0

    def refresh(self) -> bool:
        """Reads a bounded number of further pages. Returns whether the end was reached.

        Raises:
            FlightloopError: the API request failed.
        """
        with self._lock:
            for _ in range(PAGES_AT_ONCE):
                after = str(self._last.seq) if self._last else None
                page = self._client.audit.list(limit=PAGE, after=after)
                for record in page.data:
                    self._take(record)
                if not page.has_more:
                    return True
            return False

    def _take(self, record: AuditRecord) -> None:
        follows = self._last is None or self._last.sha256 == record.previous_sha256
        if not follows and self.broken_at is None:
            self.broken_at = record.seq
        self._last = record
        self.records.append(record)
        self.read += 1
