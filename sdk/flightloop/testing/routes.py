"""The HTTP table over a ``World``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

from pydantic import BaseModel

from flightloop import events as ev
from flightloop.chat import ChatRequest
from flightloop.responses import ResponseCreate
from flightloop.runs import (
    ApprovalDecision,
    Feedback,
    InterruptCreate,
    Outcome,
    Page,
    Run,
    RunCreate,
    RunFork,
    RunResume,
)
from flightloop.testing import echo
from flightloop.testing.world import World
from flightloop.verdicts import AuditRecord

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Request:
    method: str
    path: list[str]
    """Segments after the first slash, unquoted."""
    params: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True)
class Answer:
    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    starts: Run | None = None
    """A run that a worker should now take."""


@dataclass(frozen=True)
class Streamed:
    messages: Iterator[str]
    starts: None = None


def route(world: World, request: Request) -> Answer | Streamed:
    """The answer to a request.

    Raises:
        FlightloopError: as the API would answer.
        LookupError: no such path.
    """
    match request.method, request.path[1:]:
        case "GET", [noun]:
            return _LISTS[noun](world, request)
        case "POST", ["runs"]:
            return _create(world, request)
        case _, ["runs", run_id, *verb]:
            return _run(world, request, run_id, "/".join(verb))
        case "POST", ["approvals", approval_id]:
            decided = world.decide(approval_id, ApprovalDecision.model_validate_json(request.body))
            return Answer(decided, starts=world.run(decided.run_id))
        case "POST", ["interrupts"]:
            return Answer(world.stop(InterruptCreate.model_validate_json(request.body)), 201)
        case "DELETE", ["interrupts", interrupt_id]:
            return Answer(world.clear(interrupt_id))
        case "POST", ["chat", "completions"]:
            return _chat(ChatRequest.model_validate_json(request.body))
        case "POST", ["responses"]:
            return _respond(ResponseCreate.model_validate_json(request.body))
    raise LookupError(request.path)


def _create(world: World, request: Request) -> Answer:
    known = len(world.runs)
    run = world.create(RunCreate.model_validate_json(request.body), request.headers.get("idempotency-key"))
    return Answer(run, 201, starts=run if len(world.runs) > known else None)


def _run(world: World, request: Request, run_id: str, verb: str) -> Answer | Streamed:
    match verb:
        case "":
            return Answer(world.run(run_id))
        case "events":
            after = int(request.headers.get("last-event-id") or request.params.get("after") or 0)
            return Streamed(_messages(world, world.run(run_id).id, after))
        case "cancel":
            return Answer(world.cancel(run_id))
        case "interrupt":
            return Answer(world.interrupt(run_id))
        case "resume":
            run = world.resume(run_id, RunResume.model_validate_json(request.body))
            return Answer(run, starts=run)
        case "fork":
            body = RunFork.model_validate_json(request.body)
            run = world.fork(run_id, body, request.headers.get("idempotency-key"))
            return Answer(run, 201, starts=run)
        case "feedback":
            given = ev.FeedbackGiven(feedback=Feedback.model_validate_json(request.body))
            return Answer(world.append(world.run(run_id).id, given))
        case "outcome":
            solved = Outcome.model_validate_json(request.body).solved
            return Answer(world.append(world.run(run_id).id, ev.OutcomeVerified(solved=solved, by="operator")))
    raise LookupError(verb)


def _messages(world: World, run_id: str, after: int) -> Iterator[str]:
    for event in world.follow(run_id, after):
        if event is None:
            yield ": ping\n\n"
            continue
        ident = f"id: {event.seq}\n" if event.seq else ""
        yield f"{ident}event: {event.type}\ndata: {event.model_dump_json()}\n\n"


def _page(items: Sequence[T], request: Request) -> Answer:
    start = int(request.params.get("after") or 0)
    end = start + int(request.params.get("limit") or 50)
    more = end < len(items)
    return Answer(Page[Any](data=list(items[start:end]), has_more=more, next_after=str(end) if more else None))


def _runs(world: World, request: Request) -> Answer:
    wanted = {name: request.params[name] for name in ("agent", "status", "session_id") if name in request.params}
    newest = sorted(world.runs.values(), key=lambda run: run.created_at, reverse=True)
    if parent := request.params.get("parent"):
        newest = [run for run in newest if run.parent and run.parent.run_id == parent]
    return _page(
        [run for run in newest if all(str(getattr(run, name)) == value for name, value in wanted.items())], request
    )


def _approvals(world: World, request: Request) -> Answer:
    status, run_id = request.params.get("status"), request.params.get("run_id")
    found = [item for item in reversed(world.approvals.values()) if status in (None, item.status)]
    return _page([item for item in found if run_id in (None, item.run_id)], request)


def _interrupts(world: World, request: Request) -> Answer:
    active = request.params.get("active") != "false"
    return _page(world.active_interrupts() if active else list(reversed(world.interrupts.values())), request)


def _audit(world: World, request: Request) -> Answer:
    run_id, after = request.params.get("run_id"), int(request.params.get("after") or 0)
    limit = int(request.params.get("limit") or 100)
    found = [item for item in world.audit if item.seq > after and run_id in (None, item.run_id)]
    more = len(found) > limit
    page = found[:limit]
    return Answer(Page[AuditRecord](data=page, has_more=more, next_after=str(page[-1].seq) if more else None))


_LISTS: dict[str, Callable[[World, Request], Answer]] = {
    "runs": _runs,
    "approvals": _approvals,
    "interrupts": _interrupts,
    "audit": _audit,
    "agents": lambda world, request: _page(world.agents, request),
    "tools": lambda world, request: _page(world.tools, request),
    "policies": lambda world, request: _page(world.policies, request),
    "models": lambda world, request: _page(world.models, request),
    "project": lambda world, request: Answer(world.project),
    "overview": lambda world, request: Answer(world.overview()),
    "usage": lambda world, request: Answer(world.usage(request.params.get("session_id"))),
}


def _chat(request: ChatRequest) -> Answer | Streamed:
    if not request.stream:
        return Answer(echo.completion(request))
    chunks = (f"data: {chunk.model_dump_json()}\n\n" for chunk in echo.chunks(request))
    return Streamed(chain(chunks, ["data: [DONE]\n\n"]))


def _respond(request: ResponseCreate) -> Answer | Streamed:
    if not request.stream:
        return Answer(echo.response(request))
    events = echo.events(request)
    return Streamed(f"event: {event.type}\ndata: {event.model_dump_json(by_alias=True)}\n\n" for event in events)
