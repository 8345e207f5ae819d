"""Follows the audit log and verifies it: digests here, seals and checkpoints on the server."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import Lock

from flightloop import Flightloop
from flightloop.audit_chain import fault_of
from flightloop.audit_check import AuditCheck, AuditProblem
from flightloop.verdicts import AuditRecord

PAGE = 1000
PAGES_AT_ONCE = 5
MOST_PROBLEMS = 100
AGAIN_S = 300.0
"""Seconds after which the server verifies the whole log again."""


class AuditTail:
    """Reads the audit log and keeps its latest records. Thread-safe.

    The console recomputes every digest, so that it need not trust the server about what it shows. It has no keys: only
    the server can tell whether whoever changed a record also computed all later digests again.
    """

    def __init__(self, client: Flightloop, kept: int = 500, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._lock, self._clock = client, Lock(), clock
        self._last: AuditRecord | None = None
        self._after = 0
        self.records: deque[AuditRecord] = deque(maxlen=kept)
        self.broken: list[AuditProblem] = []
        """Records that don't continue the one before them, or whose digest is not that of their content."""
        self.read = 0
        self._begun = clock()
        self._finding: list[AuditProblem] = []
        self._found: list[AuditProblem] = []
        self.last_check: AuditCheck | None = None
        """The server's verification of the log's end; None until it was reached."""

    @property
    def problems(self) -> list[AuditProblem]:
        """Problems found here and on the server, those at the end of the log as of the last refresh."""
        at_end = self.last_check.problems if self.last_check else []
        return list(
            {(one.seq, one.problem): one for one in (*self.broken, *self._found, *self._finding, *at_end)}.values()
        )

    def refresh(self) -> bool:
        """Reads and verifies a bounded number of further pages. Returns whether the end was reached.

        Raises:
            FlightloopError: the API request failed.
        """
        with self._lock:
            verified = self._verify()  # first: the server also tells why it can't list a record
            return self._read() and verified

    def _verify(self) -> bool:
        for _ in range(PAGES_AT_ONCE):
            part = self._client.audit.verify(after=self._after, limit=PAGE)
            if not part.has_more or part.next_after is None:
                self.last_check, self._found = part, self._finding
                if self._clock() - self._begun >= AGAIN_S:  # what was verified before may have been changed since
                    self._begun, self._after, self._finding = self._clock(), 0, []
                return True
            self._finding = [*self._finding, *part.problems][:MOST_PROBLEMS]
            self._after = part.next_after
        return False

    def _read(self) -> bool:
        for _ in range(PAGES_AT_ONCE):
            after = str(self._last.seq) if self._last else None
            page = self._client.audit.list(limit=PAGE, after=after)
            for record in page.data:
                self._take(record)
            if not page.has_more:
                return True
        return False

    def _take(self, record: AuditRecord) -> None:
        fault = fault_of(record, self._last)
        if fault is not None and len(self.broken) < MOST_PROBLEMS:
            self.broken.append(AuditProblem(seq=record.seq, problem=fault))
        self._last = record
        self.records.append(record)
        self.read += 1


def unseen(check: AuditCheck) -> Iterator[str]:
    """Yields the limits of the verification, as sentences."""
    if check.checkpoint is None:
        yield "no checkpoint covers this log: nobody could tell if its last records were removed"
    elif check.unseen:
        yield f"{check.unseen:,} records are newer than the last checkpoint: nobody could tell if they were removed"
    yield "whoever has the audit key can write another log; compare with checkpoints that are kept elsewhere"
    yield from check.notes
