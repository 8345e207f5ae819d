"""Verifies an audit log with the keys and the checkpoints, record by record."""

from __future__ import annotations

from dataclasses import dataclass, field

from flightloop.audit_chain import fault_of
from flightloop.audit_check import AuditProblem, LastCheckpoint
from flightloop.verdicts import AuditRecord
from guardrails.audit import RECORD
from guardrails.audit_erasure import is_erasure_of
from guardrails.audit_keys import AuditKeys
from guardrails.checkpoints import Checkpoint, Checkpoints

MOST_PROBLEMS = 50
"""Problems that are reported per part; further ones are counted as one."""


@dataclass(frozen=True)
class Unreadable:
    """A stored record that is no audit record any more."""

    seq: int | None
    reason: str


@dataclass
class ChainCheck:
    """Takes the records of one tenant in order and collects what is wrong with them.

    Args:
        tenant_id: whose records.
        keys: keys that seal records.
        checkpoints: the file of checkpoints, read before the records; None: this journal has none.
        after: the record before the first one that ``take`` gets; None: it gets the log from its beginning.
    """

    tenant_id: str
    keys: AuditKeys
    checkpoints: Checkpoints | None
    after: AuditRecord | None = None
    problems: list[AuditProblem] = field(default_factory=list)
    records: int = 0
    sealed: int = 0

    def __post_init__(self) -> None:
        self._read_keys()
        self._last = self.after
        self._seq = self.after.seq if self.after else 0
        self._rank = self._ring.get((self.after.key_id if self.after else None) or "", (-1, None))[0]
        lines = self.checkpoints.of(self.tenant_id) if self.checkpoints else []
        self._marks = {line.seq: line for line in lines}
        self._unsealed = self.checkpoints.begins.get(self.tenant_id) if self.checkpoints else None

    def take(self, item: AuditRecord | Unreadable) -> None:
        self.records += 1
        if isinstance(item, Unreadable):
            self._tell(item.seq, f"can't be read: {item.reason}")
            self._seq, self._last = (self._seq + 1 if item.seq is None else item.seq), None
            return
        broken = self._last is None and self._seq > 0  # the record before it was unreadable
        before = item.model_copy(update={"seq": self._seq, "sha256": item.previous_sha256}) if broken else self._last
        fault = fault_of(item, before) or self._seal_fault(item) or self._mark_fault(item) or self._erasure_fault(item)
        if fault is not None:
            self._tell(item.seq, fault)
        self._last, self._seq = item, max(self._seq, item.seq)

    def end(self) -> None:
        """Compares the end of the log with the checkpoints."""
        ahead = [line for seq, line in self._marks.items() if seq > self._seq]
        if ahead:
            last = max(ahead, key=lambda line: line.seq)
            self._tell(
                None,
                f"the log ends at record {self._seq}, but checkpoint {last.number} of {last.at} covers record"
                f" {last.seq}: records were removed, or the database was set back",
            )
        if self._unsealed and self._unsealed[0] > self._seq:
            self._tell(None, f"the log ends at record {self._seq}, but had {self._unsealed[0]} when keys were added")

    @property
    def seq(self) -> int:
        """The last record so far."""
        return self._seq

    @property
    def checkpoint(self) -> LastCheckpoint | None:
        if not self._marks:
            return None
        last: Checkpoint = max(self._marks.values(), key=lambda line: line.number)
        return LastCheckpoint(number=last.number, seq=last.seq, at=last.time)

    def _read_keys(self) -> None:
        self._ring = {key.id: (place, key) for place, key in enumerate(self.keys.ring())}

    def _seal_fault(self, record: AuditRecord) -> str | None:
        if record.key_id is None:
            if record.mac is not None:
                return "has a seal without a key"
            if self._rank >= 0:
                return "has no seal, unlike records before it"
            if self.checkpoints is not None and self.checkpoints.lines and record.seq > (self._unsealed or (0, ""))[0]:
                return "has no seal, but was written after keys were added"
            return None
        if record.key_id not in self._ring:  # it may have been added just now
            self._read_keys()
        rank, key = self._ring.get(record.key_id, (-1, None))
        if key is None:
            return f"was sealed with the unknown key {record.key_id}"
        self.sealed += 1
        if not key.signed(record.mac, RECORD, record.sha256):
            return "was changed: its seal is not valid"
        if rank < self._rank:
            return "was sealed with an older key than the record before it"
        self._rank = rank
        return None

    def _erasure_fault(self, record: AuditRecord) -> str | None:
        """Texts can only be erased with a key; otherwise whoever writes the database could hide a change as one."""
        if not record.erased or (not self._ring and record.key_id is None):
            return None
        _, key = self._ring.get(record.erased_key_id or "", (-1, None))
        if key is None:
            return f"was erased with the unknown key {record.erased_key_id}"
        return None if is_erasure_of(record, key) else "was changed: the seal of its erasure is not valid"

    def _mark_fault(self, record: AuditRecord) -> str | None:
        mark = self._marks.get(record.seq)
        if mark is not None and mark.sha256 != record.sha256:
            return f"is not the one that checkpoint {mark.number} of {mark.at} covers: the log was rewritten"
        if self._unsealed and self._unsealed[0] == record.seq and self._unsealed[1] != record.sha256:
            return "is not the last one that was there when keys were added: the log was rewritten"
        return None

    def _tell(self, seq: int | None, problem: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(AuditProblem(seq=seq, problem=problem))
        elif len(self.problems) == MOST_PROBLEMS:
            self.problems.append(AuditProblem(problem="and more"))
