"""An in-memory platform: runs made of events, approvals, interrupts, audit. Thread-safe, no I/O."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from flightloop import events as ev
from flightloop.chat import ModelCard
from flightloop.errors import Conflict, IdempotencyMismatch, Interrupted, InvalidRequest, NotFound
from flightloop.overview import Overview
from flightloop.runs import (
    AgentInfo,
    Approval,
    ApprovalDecision,
    Interrupt,
    InterruptCreate,
    Origin,
    PolicyInfo,
    ProjectInfo,
    Run,
    RunCreate,
    RunFork,
    RunResume,
    RunStatus,
    StopReason,
    ToolInfo,
)
from flightloop.testing.fold import apply
from flightloop.usage import Amounts, Spending, UsageReport
from flightloop.verdicts import AuditRecord, Verdict


class World:
    """The state behind ``FakeServer``. Fill the lists, then let scripts append events."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.runs: dict[str, Run] = {}
        self.events: dict[str, list[ev.RunEvent]] = {}
        self.deltas: dict[str, list[tuple[int, str]]] = {}
        """Released text by run, each with the sequence number of the durable event before it."""
        self.approvals: dict[str, Approval] = {}
        self.interrupts: dict[str, Interrupt] = {}
        self.audit: list[AuditRecord] = []
        self.agents: list[AgentInfo] = []
        self.tools: list[ToolInfo] = []
        self.policies: list[PolicyInfo] = []
        self.models: list[ModelCard] = []
        self.project = ProjectInfo(loaded_at=datetime.now(UTC))
        self.figures: Callable[[], dict[str, Any]] = dict
        """Tells the tiers of ``Overview``."""
        self.tenant = Spending()
        """Its bounds, its window and what is reserved; what is used follows from the runs."""
        self._keys: dict[str, tuple[RunCreate, str]] = {}

    def create(self, body: RunCreate, key: str | None = None) -> Run:
        with self.changed:
            if key in self._keys:
                seen, run_id = self._keys[key]
                if seen != body:
                    raise IdempotencyMismatch("this Idempotency-Key was used with another body")
                return self.runs[run_id]
            self._admit(body)
            run_id = f"run_{uuid4().hex[:12]}"
            if key:
                self._keys[key] = (body, run_id)
            session = body.session_id or f"ses_{uuid4().hex[:8]}"
            fields = body.model_dump(exclude={"session_id"})
            policy = next(agent.policy_sha256 for agent in self.agents if agent.name == body.agent)
            created = ev.RunCreated(session_id=session, policy_sha256=policy, **fields)
            now = datetime.now(UTC)
            self.runs[run_id] = Run(
                id=run_id,
                session_id=session,
                status=RunStatus.QUEUED,
                created_at=now,
                policy_sha256=policy,
                **fields,
            )
            self.events[run_id], self.deltas[run_id] = [], []
            return self.append(run_id, created)

    def fork(self, run_id: str, body: RunFork, key: str | None) -> Run:
        with self.changed:
            parent = self.run(run_id)
            if body.step > parent.usage.steps:
                raise InvalidRequest(f"step: run {run_id} has {parent.usage.steps} of them", param="step")
            fields = {"agent": parent.agent, "input": body.input or parent.input, "metadata": body.metadata}
            made = self.create(RunCreate.model_validate({**fields, "budget": body.budget or parent.budget}), key)
            changed = {"policy": body.policy, "model": body.model, "origin": Origin(run_id=run_id, step=body.step)}
            self.runs[made.id] = made.model_copy(update=changed)
            for event in self.events[run_id]:
                if event.step in range(1, body.step + 1) and event.type.startswith(("decision.", "tool.")):
                    self.append(made.id, event.model_copy(update={"copied": True}))
            return self.runs[made.id]

    def _admit(self, body: RunCreate) -> None:
        names = [agent.name for agent in self.agents]
        if body.agent not in names:
            raise NotFound(f"no agent {body.agent!r}; known: {', '.join(names)}", param="agent")
        for latched in self.active_interrupts():
            if latched.scope == "all" or latched.target in (body.agent, body.session_id):
                raise Interrupted(f"stopped by interrupt {latched.id}: {latched.reason}")

    def append(self, run_id: str, event: ev.RunEvent, at: datetime | None = None) -> Run:
        """Journals an event, as a worker would, and tells every stream."""
        with self.changed:
            journal = self.events[run_id]
            event.seq, event.run_id, event.at = len(journal) + 1, run_id, at or event.at or datetime.now(UTC)
            journal.append(event)
            self.runs[run_id] = apply(self.runs[run_id], event)
            if isinstance(event, ev.ApprovalRequested):
                self._request(event)
            elif isinstance(event, ev.Judged):
                self._record(event, event.verdict)
            elif isinstance(event, ev.ChecksPassed):
                self._record(event, event.passed.verdicts[0])
            self.changed.notify_all()
            return self.runs[run_id]

    def begin(self, run_id: str, at: datetime) -> None:
        """Sets when a run was created, for histories."""
        self.runs[run_id] = self.runs[run_id].model_copy(update={"created_at": at})
        self.events[run_id][0].at = at

    def say(self, run_id: str, text: str) -> None:
        """Releases text as a delta."""
        with self.changed:
            self.deltas[run_id].append((len(self.events[run_id]), text))
            self.changed.notify_all()

    def run(self, run_id: str) -> Run:
        if run_id not in self.runs:
            raise NotFound(f"no run {run_id!r}")
        return self.runs[run_id]

    def follow(self, run_id: str, after: int) -> Iterator[ev.RunEvent | None]:
        """Events after that one and fresh deltas until the run has ended; None: nothing for a second."""
        self.run(run_id)
        told = len(self.deltas[run_id])
        while True:
            with self.changed:
                # A delta comes after the durable event that it followed.
                fresh: list[tuple[int, int, ev.RunEvent]] = [
                    (seq, 1, ev.DeltaEvent(run_id=run_id, text=text)) for seq, text in self.deltas[run_id][told:]
                ]
                fresh += [(event.seq, 0, event) for event in self.events[run_id][after:]]
                told, after = len(self.deltas[run_id]), max(after, len(self.events[run_id]))
                ended = self.runs[run_id].status.terminal
                idle = not (fresh or ended) and not self.changed.wait(1.0)
            yield from (event for *_, event in sorted(fresh, key=lambda item: item[:2]))
            if ended:
                return
            if idle:
                yield None

    def cancel(self, run_id: str) -> Run:
        return self._end(run_id, RunStatus.CANCELLED, StopReason.CANCEL)

    def interrupt(self, run_id: str) -> Run:
        return self._end(run_id, RunStatus.INTERRUPTED, StopReason.INTERRUPT)

    def _end(self, run_id: str, status: RunStatus, reason: StopReason) -> Run:
        with self.changed:
            if self.run(run_id).status.terminal:
                raise Conflict(f"run {run_id} has ended: {self.run(run_id).status}")
            for item in self.approvals.values():
                if item.run_id == run_id and item.status == "pending":
                    item.status = "expired"
            return self.append(run_id, ev.RunEnded(status=status, stop_reason=reason))

    def resume(self, run_id: str, body: RunResume) -> Run:
        with self.changed:
            if self.run(run_id).status not in (RunStatus.INTERRUPTED, RunStatus.FAILED):
                raise Conflict(f"run {run_id} can't be resumed: it is {self.run(run_id).status}")
            if self.active_interrupts():
                raise Interrupted("the interrupt that stopped the run is still latched")
            return self.append(run_id, ev.RunResumed(by="operator", **dict(body)))

    def decide(self, approval_id: str, body: ApprovalDecision) -> Approval:
        with self.changed:
            found = self.approvals.get(approval_id)
            if found is None:
                raise NotFound(f"no approval {approval_id!r}")
            if found.status != "pending":
                raise Conflict(f"approval {approval_id} is already {found.status}")
            found.status = "approved" if body.decision == "approve" else "denied"
            found.decided_at, found.decided_by, found.decision_reason = datetime.now(UTC), "operator", body.reason
            decided = ev.ApprovalDecided(
                approval_id=found.id, call_id=found.call_id, decision=body.decision, by="operator", reason=body.reason
            )
            self.append(found.run_id, decided)
            return found

    def stop(self, body: InterruptCreate) -> Interrupt:
        if (body.scope == "all") != (body.target is None):
            raise InvalidRequest(
                "target is the agent's name or the session's id, and none for scope all", param="target"
            )
        with self.changed:
            latched = Interrupt(
                id=f"int_{uuid4().hex[:8]}",
                epoch=len(self.interrupts) + 1,
                created_at=datetime.now(UTC),
                created_by="operator",
                **body.model_dump(),
            )
            self.interrupts[latched.id] = latched
            for run in list(self.runs.values()):
                if not run.status.terminal and (body.scope == "all" or body.target in (run.agent, run.session_id)):
                    self.interrupt(run.id)
            return latched

    def clear(self, interrupt_id: str) -> Interrupt:
        with self.changed:
            if interrupt_id not in self.interrupts:
                raise NotFound(f"no interrupt {interrupt_id!r}")
            found = self.interrupts[interrupt_id]
            found.cleared_at = found.cleared_at or datetime.now(UTC)
            return found

    def active_interrupts(self) -> list[Interrupt]:
        return [item for item in self.interrupts.values() if item.cleared_at is None]

    def overview(self) -> Overview:
        with self.changed:
            statuses = [run.status.value for run in self.runs.values()]
            return Overview(
                at=datetime.now(UTC),
                runs={status: statuses.count(status) for status in sorted(set(statuses))},
                pending_approvals=sum(item.status == "pending" for item in self.approvals.values()),
                interrupts=self.active_interrupts(),
                **self.figures(),
            )

    def usage(self, session_id: str | None) -> UsageReport:
        with self.changed:
            own = [run for run in self.runs.values() if run.session_id == session_id]
            session = Spending(used=_used(own)) if session_id else None
            tenant = self.tenant.model_copy(update={"used": _used(self.runs.values())})
            return UsageReport(tenant=tenant, session=session)

    def _request(self, event: ev.ApprovalRequested) -> None:
        shared = set(Approval.model_fields) & set(ev.ApprovalRequested.model_fields)
        self.approvals[event.approval_id] = Approval(
            id=event.approval_id,
            agent=self.runs[event.run_id].agent,
            created_at=event.at or datetime.now(UTC),
            **event.model_dump(include=shared),
        )

    def _record(self, event: ev.Judged | ev.ChecksPassed, verdict: Verdict) -> None:
        before = self.audit[-1].sha256 if self.audit else "0" * 64
        self.audit.append(
            AuditRecord(
                seq=len(self.audit) + 1,
                at=event.at or datetime.now(UTC),
                tenant_id="default",
                run_id=event.run_id,
                step=event.step,
                call_id=event.call_id if isinstance(event, ev.Judged) else None,
                verdict=verdict,
                passed=event.passed if isinstance(event, ev.ChecksPassed) else None,
                previous_sha256=before,
                sha256=hashlib.sha256((before + event.model_dump_json()).encode()).hexdigest(),
            )
        )


def _used(runs: Iterable[Run]) -> Amounts:
    return sum((Amounts.of(run.usage) for run in runs), Amounts())
