"""Endpoints of the API, grouped as in the client. Lists are cursor pages, newest first except the audit log."""

from __future__ import annotations

import time
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

from flightloop.acts import Act
from flightloop.audit_check import AuditCheck
from flightloop.call import Call, Steps, parsed_by
from flightloop.content import Part
from flightloop.events import RunEvent
from flightloop.feeds import RunFeed
from flightloop.keys import ApiKey, ApiKeyCreate, Caller, NewApiKey, Role
from flightloop.model_card import ModelCard
from flightloop.overview import Overview
from flightloop.resource import Resource, X, endpoint, feed, sequence
from flightloop.runs import (
    AgentInfo,
    Approval,
    ApprovalDecision,
    Budget,
    Feedback,
    Interrupt,
    InterruptCreate,
    InterruptScope,
    Outcome,
    Page,
    PolicyInfo,
    PolicyText,
    ProjectInfo,
    Run,
    RunCreate,
    RunFork,
    RunInterrupt,
    RunResume,
    RunStatus,
    ToolInfo,
)
from flightloop.subject import SpeaksFor, Subject
from flightloop.usage import UsageReport
from flightloop.verdicts import AuditRecord

_run = parsed_by(Run)
Events = list[RunEvent]
Parts = list[Part]
Bounds = Budget | dict[str, Any]
"""Limits as a dict or ``Budget``. Unknown names are rejected at run time in a dict, else only by type checkers."""


Named = str | Subject | dict[str, Any]
"""A subject: its id, or an object with ``id`` and ``claims``."""


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _once(idempotency_key: str | None) -> dict[str, str]:
    """Idempotency header; all attempts of a call share the key, so that it takes effect once."""
    return {"idempotency-key": idempotency_key or uuid4().hex}


def _get(run_id: str) -> Call[Run]:
    return Call("GET", _path("runs", run_id), _run)


def until_ended(run: Run, timeout_s: float | None) -> Steps[Run]:
    """Waits until a run has ended, and returns it. Raises TimeoutError."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while not run.status.terminal:  # again if it was resumed right after its end
        left = None if deadline is None else deadline - time.monotonic()
        yield RunFeed(run.id, run.last_seq, timeout_s=left, until_ended=True)
        run = yield _get(run.id)
    return run


class Runs(Resource[X]):
    @endpoint
    def create(
        self,
        *,
        agent: str,
        input: str | Parts,
        session_id: str | None = None,
        subject: Named | None = None,
        budget: Bounds | None = None,
        session_budget: Bounds | None = None,
        metadata: dict[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Run]:
        """Starts a run and returns immediately; a repeated ``idempotency_key`` does not start a second one.

        ``subject`` is the end user on whose behalf the run acts, vouched for by the client's key.
        """
        body = RunCreate.model_validate(
            {
                "agent": agent,
                "input": input,
                "session_id": session_id,
                "subject": subject,
                "budget": budget or {},
                "session_budget": session_budget or {},
                "metadata": metadata or {},
            }
        )
        return Call("POST", _path("runs"), _run, body=body, headers=_once(idempotency_key))

    @endpoint
    def get(self, run_id: str) -> Call[Run]:
        return _get(run_id)

    @endpoint
    def list(
        self,
        *,
        agent: str | None = None,
        status: RunStatus | str | None = None,
        session_id: str | None = None,
        subject: str | None = None,
        parent: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Call[Page[Run]]:
        params = {
            "agent": agent,
            "status": status,
            "session_id": session_id,
            "subject": subject,
            "parent": parent,
            "limit": limit,
            "after": after,
        }
        return Call("GET", _path("runs"), parsed_by(Page[Run]), params)

    @feed
    def stream(
        self, run_id: str, *, after: int = 0, until: int | None = None, timeout_s: float | None = None
    ) -> RunFeed:
        """Yields the run's events with a ``seq`` above ``after`` as they happen, until the run ends or event ``until``.

        Survives broken connections. Deltas (streamed text) come between the durable events.
        """
        return RunFeed(run_id, after, timeout_s=timeout_s, until_seq=until)

    @sequence
    def events(self, run_id: str, *, after: int = 0) -> Steps[Events]:
        """The durable events recorded so far with a ``seq`` above ``after``; does not wait for more."""
        run: Run = yield _get(run_id)
        if run.last_seq <= after:
            return []
        found: Events = yield RunFeed(run_id, after, until_seq=run.last_seq)
        return [event for event in found if event.seq]

    @sequence
    def wait(self, run_id: str, *, timeout_s: float | None = None) -> Steps[Run]:
        """Waits until the run has ended and returns it.

        Raises:
            TimeoutError: the run has not ended within ``timeout_s``.
        """
        run: Run = yield _get(run_id)
        return (yield from until_ended(run, timeout_s))

    @endpoint
    def cancel(self, run_id: str) -> Call[Run]:
        """Ends the run at its next step."""
        return Call("POST", _path("runs", run_id, "cancel"), _run)

    @endpoint
    def interrupt(self, run_id: str, *, reason: str = "") -> Call[Run]:
        """Emergency stop of this run, within a token; in force until the run is resumed."""
        return Call("POST", _path("runs", run_id, "interrupt"), _run, body=RunInterrupt(reason=reason))

    @endpoint
    def resume(self, run_id: str, *, budget: Bounds | None = None, session_budget: Bounds | None = None) -> Call[Run]:
        """Continues a run after a cleared interrupt, or with a larger budget."""
        body = RunResume.model_validate({"budget": budget, "session_budget": session_budget})
        return Call("POST", _path("runs", run_id, "resume"), _run, body=body)

    @endpoint
    def fork(
        self,
        run_id: str,
        *,
        step: int,
        input: str | Parts | None = None,
        policy: str | None = None,
        model: str | None = None,
        budget: Bounds | None = None,
        metadata: dict[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Run]:
        """Starts a run that begins with the first ``step`` decisions of this one and continues independently.

        Those decisions are not executed again: results of their calls are copied.
        """
        given = {"step": step, "input": input, "policy": policy, "model": model, "budget": budget}
        body = RunFork.model_validate({**given, "metadata": metadata or {}})
        return Call("POST", _path("runs", run_id, "fork"), _run, body=body, headers=_once(idempotency_key))

    @endpoint
    def feedback(self, run_id: str, *, score: int, resolved: bool, comment: str | None = None) -> Call[Run]:
        """Rates an ended run from 1 (bad) to 5."""
        body = Feedback(score=score, resolved=resolved, comment=comment)
        return Call("POST", _path("runs", run_id, "feedback"), _run, body=body)

    @endpoint
    def outcome(self, run_id: str, *, solved: bool, by: str = "") -> Call[Run]:
        """Records whether the run had the effect that its user wanted, and who checked."""
        return Call("POST", _path("runs", run_id, "outcome"), _run, body=Outcome(solved=solved, by=by))


class Keys(Resource[X]):
    """API keys, for admins."""

    @endpoint
    def create(
        self,
        *,
        name: str,
        role: Role | str = Role.OPERATOR,
        tenant_id: str | None = None,
        speaks_for: SpeaksFor | str | None = None,
        subject: Named | None = None,
        idempotency_key: str | None = None,
    ) -> Call[NewApiKey]:
        """Creates a key, which is shown only once; a repeated ``idempotency_key`` does not create a second one.

        With a ``subject``, the key is bound: it starts and sees this end user's runs only. ``speaks_for="none"`` makes
        all runs of a key anonymous.

        Raises:
            Conflict: the response with the key was lost. The message names the key, so that it can be revoked.
        """
        given = {"name": name, "role": role, "tenant_id": tenant_id, "speaks_for": speaks_for, "subject": subject}
        body = ApiKeyCreate.model_validate(given)
        return Call("POST", _path("keys"), parsed_by(NewApiKey), body=body, headers=_once(idempotency_key))

    @endpoint
    def list(self, *, limit: int = 200, after: str | None = None) -> Call[Page[ApiKey]]:
        """Keys of the tenant, newest first, revoked ones included."""
        return Call("GET", _path("keys"), parsed_by(Page[ApiKey]), {"limit": limit, "after": after})

    @endpoint
    def revoke(self, key_id: str) -> Call[ApiKey]:
        """Revokes a key within seconds."""
        return Call("DELETE", _path("keys", key_id), parsed_by(ApiKey))


class Approvals(Resource[X]):
    @endpoint
    def list(
        self,
        *,
        status: str | None = "pending",
        run_id: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Call[Page[Approval]]:
        """Pending approvals; other values of ``status`` are approved, denied, expired, or None for all."""
        params = {"status": status, "run_id": run_id, "limit": limit, "after": after}
        return Call("GET", _path("approvals"), parsed_by(Page[Approval]), params)

    @endpoint
    def get(self, approval_id: str) -> Call[Approval]:
        return Call("GET", _path("approvals", approval_id), parsed_by(Approval))

    @endpoint
    def decide(
        self, approval_id: str, *, decision: Literal["approve", "deny"], reason: str | None = None
    ) -> Call[Approval]:
        """Decides about a call. It stays pending while further persons must approve (``needed``, ``given``)."""
        body = ApprovalDecision(decision=decision, reason=reason)
        return Call("POST", _path("approvals", approval_id), parsed_by(Approval), body=body, idempotent=False)


class Interrupts(Resource[X]):
    @endpoint
    def create(
        self,
        *,
        scope: InterruptScope = "all",
        target: str | None = None,
        reason: str = "",
        idempotency_key: str | None = None,
    ) -> Call[Interrupt]:
        """Stops everything in the scope now; latched until cleared."""
        body = InterruptCreate(scope=scope, target=target, reason=reason)
        return Call("POST", _path("interrupts"), parsed_by(Interrupt), body=body, headers=_once(idempotency_key))

    @endpoint
    def list(self, *, active: bool = True, limit: int = 200, after: str | None = None) -> Call[Page[Interrupt]]:
        """Active interrupts; with ``active=False`` cleared ones too."""
        params = {"active": active, "limit": limit, "after": after}
        return Call("GET", _path("interrupts"), parsed_by(Page[Interrupt]), params)

    @endpoint
    def clear(self, interrupt_id: str, *, reason: str = "") -> Call[Interrupt]:
        """Clears an interrupt, so that new work is accepted. Stopped runs stay stopped until they are resumed."""
        params = {"reason": reason or None}
        return Call("DELETE", _path("interrupts", interrupt_id), parsed_by(Interrupt), params)


class Agents(Resource[X]):
    @endpoint
    def list(self, *, limit: int = 200, after: str | None = None) -> Call[Page[AgentInfo]]:
        return Call("GET", _path("agents"), parsed_by(Page[AgentInfo]), {"limit": limit, "after": after})


class Tools(Resource[X]):
    @endpoint
    def list(self, *, limit: int = 200, after: str | None = None) -> Call[Page[ToolInfo]]:
        return Call("GET", _path("tools"), parsed_by(Page[ToolInfo]), {"limit": limit, "after": after})


class Policies(Resource[X]):
    @endpoint
    def list(self, *, limit: int = 200, after: str | None = None) -> Call[Page[PolicyInfo]]:
        return Call("GET", _path("policies"), parsed_by(Page[PolicyInfo]), {"limit": limit, "after": after})

    @endpoint
    def get(self, sha256: str) -> Call[PolicyText]:
        """The policy with this hash, also if the project has another one today."""
        return Call("GET", _path("policies", sha256), parsed_by(PolicyText))


class Audit(Resource[X]):
    @endpoint
    def list(
        self,
        *,
        run_id: str | None = None,
        act: Act | None = None,
        actor: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Call[Page[AuditRecord]]:
        """Audit records, oldest first; ``after`` is a record's ``seq``, ``actor`` an id or a name."""
        params = {"run_id": run_id, "act": act and act.value, "actor": actor, "limit": limit, "after": after}
        return Call("GET", _path("audit"), parsed_by(Page[AuditRecord]), params)

    @endpoint
    def verify(self, *, after: int = 0, limit: int = 1000) -> Call[AuditCheck]:
        """Verifies a part of the audit log on the server; ``after`` is ``next_after`` of the part before it."""
        return Call("GET", _path("audit", "verification"), parsed_by(AuditCheck), {"after": after, "limit": limit})


class Models(Resource[X]):
    @endpoint
    def list(self) -> Call[Page[ModelCard]]:
        return Call("GET", _path("models"), parsed_by(Page[ModelCard]))


class OverviewResource(Resource[X]):
    @endpoint
    def overview(self) -> Call[Overview]:
        """Figures of the three tiers, runs by status, pending approvals and active interrupts."""
        return Call("GET", _path("overview"), parsed_by(Overview))

    @endpoint
    def project(self) -> Call[ProjectInfo]:
        """Time when the project was loaded, and the problem with its files, if any."""
        return Call("GET", _path("project"), parsed_by(ProjectInfo))

    @endpoint
    def usage(self, *, session_id: str | None = None, subject: str | None = None) -> Call[UsageReport]:
        """Usage, reservations and budget of the tenant in its window, and optionally of a session and a subject."""
        params = {"session_id": session_id, "subject": subject}
        return Call("GET", _path("usage"), parsed_by(UsageReport), params)

    @endpoint
    def whoami(self) -> Call[Caller]:
        """Name, role and tenant of the client's own key."""
        return Call("GET", _path("whoami"), parsed_by(Caller))
