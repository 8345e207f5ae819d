"""Used and reserved amounts, in memory."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256

from agent.store.backend import Reserved
from flightloop.usage import Amounts


class MemorySpending:
    """The part of ``agent.store.backend.Transaction`` that stores the ledger."""

    def __init__(self) -> None:
        super().__init__()
        self._days: dict[tuple[str, str], Amounts] = {}
        self._sessions: dict[tuple[str, str], Amounts] = {}
        self._subjects: dict[tuple[str, str, str], Amounts] = {}
        self._reservations: dict[str, Reserved] = {}

    def spend(
        self, tenant_id: str, session_id: str | None, day: str, used: Amounts, subject: str | None = None
    ) -> None:
        self._days[tenant_id, day] = self._days.get((tenant_id, day), Amounts()) + used
        if session_id is not None:
            self._sessions[tenant_id, session_id] = self.spent_in_session(tenant_id, session_id) + used
        if subject is not None:
            key = tenant_id, _hashed(subject), day
            self._subjects[key] = self._subjects.get(key, Amounts()) + used

    def drop_subject_spending(self, tenant_id: str, subject: str) -> None:
        gone = tenant_id, _hashed(subject)
        self._subjects = {key: used for key, used in self._subjects.items() if key[:2] != gone}
        self._reservations = {
            key: one for key, one in self._reservations.items() if (one.tenant_id, one.subject) != (tenant_id, subject)
        }

    def spent_since(self, tenant_id: str, day: str) -> Amounts:
        found = [used for (owner, on), used in self._days.items() if owner == tenant_id and on >= day]
        return sum(found, Amounts())

    def spent_in_session(self, tenant_id: str, session_id: str) -> Amounts:
        return self._sessions.get((tenant_id, session_id), Amounts())

    def spent_by_subject(self, tenant_id: str, subject: str, day: str) -> Amounts:
        own = [
            used
            for (*owner, on), used in self._subjects.items()
            if owner == [tenant_id, _hashed(subject)] and on >= day
        ]
        return sum(own, Amounts())

    def reserved(
        self,
        tenant_id: str,
        session_id: str | None,
        but: str = "",
        gone: Collection[str] = (),
        subject: str | None = None,
    ) -> Amounts:
        found = [
            one.amounts
            for one in self._reservations.values()
            if one.tenant_id == tenant_id and session_id in (None, one.session_id) and subject in (None, one.subject)
            if one.id != but and one.holder not in gone
        ]
        return sum(found, Amounts())

    def reservation(self, reservation_id: str) -> Reserved | None:
        return self._reservations.get(reservation_id)

    def save_reservation(self, reserved: Reserved) -> None:
        self._reservations[reserved.id] = reserved

    def drop_reservation(self, reservation_id: str) -> None:
        self._reservations.pop(reservation_id, None)

    def drop_reservations(self, holders: Collection[str]) -> None:
        self._reservations = {key: one for key, one in self._reservations.items() if one.holder not in holders}

    def reservers(self) -> list[str]:
        return sorted({one.holder for one in self._reservations.values()})


def _hashed(subject: str) -> str:
    """The subject's id as the ledger has it, which outlives an erasure by age."""
    return sha256(subject.encode()).hexdigest()
