"""The API's endpoints, grouped as the client shows them; lists come as cursor pages, newest first but for the audit."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

from flightloop.call import Call, Steps, parsed_by
from flightloop.chat import ModelCard
from flightloop.content import Part
from flightloop.events import RunEvent
from flightloop.feeds import RunFeed
from flightloop.keys import ApiKey, ApiKeyCreate, Caller, NewApiKey, Role
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
    Outcome,
    Page,
    PolicyInfo,
    ProjectInfo,
    Run,
    RunCreate,
    RunFork,
    RunInterrupt,
    RunResume,
    RunStatus,
    ToolInfo,
)
from flightloop.usage import UsageReport
from flightloop.verdicts import AuditRecord

_run = parsed_by(Run)
Events = list[RunEvent]
Parts = list[Part]
Bounds = Budget | dict[str, Any]
"""A dict's names are checked; what a ``Budget`` is made of, only a type checker sees."""


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _once(idempotency_key: str | None) -> dict[str, str]:
    """Every attempt of a call sends the same key, so that it has its effect once."""
    return {"idempotency-key": idempotency_key or uuid4().hex}


def _get(run_id: str) -> Call[Run]:
    return Call("GET", _path("runs", run_id), _run)


class Runs(Resource[X]):
    @endpoint
    def create(
        self,
        *,
        agent: str,
        input: str | Parts,
        session_id: str | None = None,
        budget: Bounds | None = None,
        session_budget: Bounds | None = None,
        metadata: dict[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Run]:
        """Starts a run and returns at once; the same ``idempotency_key`` never starts a second one."""
        body = RunCreate.model_validate(
            {
                "agent": agent,
                "input": input,
                "session_id": session_id,
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
        parent: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Call[Page[Run]]:
        params = {
            "agent": agent,
            "status": status,
            "session_id": session_id,
            "parent": parent,
            "limit": limit,
            "after": after,
        }
        return Call("GET", _path("runs"), parsed_by(Page[Run]), params)

    @feed
    def stream(
        self, run_id: str, *, after: int = 0, until: int | None = None, timeout_s: float | None = None
    ) -> RunFeed:
        """The run's events as they happen, from the one after ``after``, until it has ended or to the one ``until``.

        Survives broken connections. Deltas (released text) come between the durable events.
        """
        return RunFeed(run_id, after, timeout_s=timeout_s, until_seq=until)

    @sequence
    def events(self, run_id: str, *, after: int = 0) -> Steps[Events]:
        """The durable events so far that come after ``after``; does not wait for more."""
        run: Run = yield _get(run_id)
        if run.last_seq <= after:
            return []
        found: Events = yield RunFeed(run_id, after, until_seq=run.last_seq)
        return [event for event in found if event.seq]

    @sequence
    def wait(self, run_id: str, *, timeout_s: float | None = None) -> Steps[Run]:
        """The run, once it has ended.

        Raises:
            TimeoutError: it had not ended after that many seconds.
        """
        run: Run = yield _get(run_id)
        while not run.status.terminal:
            yield RunFeed(run_id, run.last_seq, timeout_s=timeout_s, until_ended=True)
            run = yield _get(run_id)
        return run

    @endpoint
    def cancel(self, run_id: str) -> Call[Run]:
        """Ends the run at its next step."""
        return Call("POST", _path("runs", run_id, "cancel"), _run)

    @endpoint
    def interrupt(self, run_id: str, *, reason: str = "") -> Call[Run]:
        """Emergency stop of this run, in the middle of a token if need be; latched until it is resumed."""
        return Call("POST", _path("runs", run_id, "interrupt"), _run, body=RunInterrupt(reason=reason))

    @endpoint
    def resume(self, run_id: str, *, budget: Bounds | None = None, session_budget: Bounds | None = None) -> Call[Run]:
        """Goes on after an interrupt that is cleared, or with a larger budget."""
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
        """A new run that begins with the first ``step`` decisions of this one, and goes on by itself from there.

        Nothing of them happens again: the calls' results are taken over.
        """
        given = {"step": step, "input": input, "policy": policy, "model": model, "budget": budget}
        body = RunFork.model_validate({**given, "metadata": metadata or {}})
        return Call("POST", _path("runs", run_id, "fork"), _run, body=body, headers=_once(idempotency_key))

    @endpoint
    def feedback(self, run_id: str, *, score: int, resolved: bool, comment: str | None = None) -> Call[Run]:
        """Rates a run that has ended: 1 (bad) to 5."""
        body = Feedback(score=score, resolved=resolved, comment=comment)
        return Call("POST", _path("runs", run_id, "feedback"), _run, body=body)

    @endpoint
    def outcome(self, run_id: str, *, solved: bool, by: str = "") -> Call[Run]:
        """Records whether the world is in the state that the run's user wanted, and who checked."""
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
        idempotency_key: str | None = None,
    ) -> Call[NewApiKey]:
        """Makes a key, and tells it this once; the same ``idempotency_key`` never makes a second one.

        Raises:
            Conflict: the answer with the key was lost. It names the key, to be revoked.
        """
        body = ApiKeyCreate.model_validate({"name": name, "role": role, "tenant_id": tenant_id})
        return Call("POST", _path("keys"), parsed_by(NewApiKey), body=body, headers=_once(idempotency_key))

    @endpoint
    def list(self, *, limit: int = 200, after: str | None = None) -> Call[Page[ApiKey]]:
        """All of the tenant, newest first, revoked ones too."""
        return Call("GET", _path("keys"), parsed_by(Page[ApiKey]), {"limit": limit, "after": after})

    @endpoint
    def revoke(self, key_id: str) -> Call[ApiKey]:
        """Ends a key, within seconds and for good."""
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
        """Those that wait; ``status=None`` for all, else pending, approved, denied or expired."""
        params = {"status": status, "run_id": run_id, "limit": limit, "after": after}
        return Call("GET", _path("approvals"), parsed_by(Page[Approval]), params)

    @endpoint
    def decide(
        self, approval_id: str, *, decision: Literal["approve", "deny"], reason: str | None = None
    ) -> Call[Approval]:
        body = ApprovalDecision(decision=decision, reason=reason)
        return Call("POST", _path("approvals", approval_id), parsed_by(Approval), body=body, idempotent=False)


class Interrupts(Resource[X]):
    @endpoint
    def create(
        self,
        *,
        scope: Literal["all", "agent", "session"] = "all",
        target: str | None = None,
        reason: str = "",
        idempotency_key: str | None = None,
    ) -> Call[Interrupt]:
        """Stops everything in the scope, now; latched until cleared."""
        body = InterruptCreate(scope=scope, target=target, reason=reason)
        return Call("POST", _path("interrupts"), parsed_by(Interrupt), body=body, headers=_once(idempotency_key))

    @endpoint
    def list(self, *, active: bool = True, limit: int = 200, after: str | None = None) -> Call[Page[Interrupt]]:
        """The latched interrupts; with ``active=False`` the cleared ones too."""
        params = {"active": active, "limit": limit, "after": after}
        return Call("GET", _path("interrupts"), parsed_by(Page[Interrupt]), params)

    @endpoint
    def clear(self, interrupt_id: str) -> Call[Interrupt]:
        """Lets work go on again. What was stopped stays stopped until it is resumed."""
        return Call("DELETE", _path("interrupts", interrupt_id), parsed_by(Interrupt))


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


class Audit(Resource[X]):
    @endpoint
    def list(self, *, run_id: str | None = None, limit: int = 100, after: str | None = None) -> Call[Page[AuditRecord]]:
        """One record a verdict, oldest first; ``after`` is a record's ``seq``."""
        return Call(
            "GET", _path("audit"), parsed_by(Page[AuditRecord]), {"run_id": run_id, "limit": limit, "after": after}
        )


class Models(Resource[X]):
    @endpoint
    def list(self) -> Call[Page[ModelCard]]:
        return Call("GET", _path("models"), parsed_by(Page[ModelCard]))


class OverviewResource(Resource[X]):
    @endpoint
    def overview(self) -> Call[Overview]:
        """The three tiers' figures, runs by status and what needs a person."""
        return Call("GET", _path("overview"), parsed_by(Overview))

    @endpoint
    def project(self) -> Call[ProjectInfo]:
        """Since when the project serves as it is, and what is wrong with its files, if anything is."""
        return Call("GET", _path("project"), parsed_by(ProjectInfo))

    @endpoint
    def usage(self, *, session_id: str | None = None) -> Call[UsageReport]:
        """What the tenant has used and reserved in its window, beside its bounds; and a session, if one is named."""
        return Call("GET", _path("usage"), parsed_by(UsageReport), {"session_id": session_id})

    @endpoint
    def whoami(self) -> Call[Caller]:
        """Name, role and tenant of the client's own key."""
        return Call("GET", _path("whoami"), parsed_by(Caller))
