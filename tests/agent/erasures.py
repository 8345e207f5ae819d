"""Runs with a person's words in every place that has any, and a search for them in a journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from agent.run.erasure import ErasureFilter
from agent.run.journal import Idempotency, Journal
from agent.store import StoreJournal
from agent.store.backend import T, Transaction
from agent.store.sql.tables import metadata
from agent.store.sql.urls import synchronous
from flightloop.acts import Actor, ActorKind
from flightloop.chat import FunctionCall, ToolCall, Usage
from flightloop.content import ImagePart, ImageUrl, TextPart
from flightloop.errors import StoreUnavailable
from flightloop.events import (
    ApprovalRequested,
    CallsDecided,
    ContextCompacted,
    FeedbackGiven,
    Judged,
    ModelCall,
    OutcomeVerified,
    Planned,
    Replied,
    RunCreated,
    RunEnded,
    RunEvent,
    ToolIntent,
    ToolResult,
)
from flightloop.keys import ApiKey, Role
from flightloop.provenance import Origin as Whence
from flightloop.provenance import Source
from flightloop.readings import ImageReading
from flightloop.runs import Budget, Caller, Origin, Parent, Rating, Run, RunError, RunStatus, StopReason
from flightloop.subject import SpeaksFor, Subject
from flightloop.verdicts import Action, Span, Stage, Verdict
from guardrails.audit_keys import AuditKey, FixedKeys

WORD = "Zanzibar"
"""In every text of the person, and in no other."""
IN_BASE64 = "WmFuemliYXJ"
"""The beginning of ``WORD`` as images have it."""
WHO = Subject(id=f"cust-{WORD}-7", claims={"email": f"{WORD}@example.com"})
OTHER = Subject(id="bob")
ANN = Actor(kind=ActorKind.KEY, id="own", name="key:ann")
PIXEL = "data:image/png;base64,WmFuemliYXJaYW56aWJhcg=="
MODEL = ModelCall(model="m", usage=Usage(prompt_tokens=7, completion_tokens=3), cost=0.5, confidence=0.75)
SHA = "0" * 64
KEYS = FixedKeys((AuditKey(b"a" * 32),))
PERSON = ErasureFilter("default", subject=WHO.id)
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def creation(word: str = WORD, subject: Subject | None = WHO, **fields: Any) -> RunCreated:
    reading = ImageReading(kind="text", width=1, height=1, confidence=0.5, lines=[word[:1000]])
    images = [ImagePart(image_url=ImageUrl(url=PIXEL))] if subject == WHO else []
    given: dict[str, Any] = {
        "agent": "helper",
        "session_id": "s1",
        "subject": subject,
        "input": [TextPart(text=f"I am {word}"), *images],
        "readings": [reading],
        "metadata": {"name": word},
        "budget": Budget(),
    }
    return RunCreated.model_validate(given | fields)


def verdict(word: str) -> Verdict:
    return Verdict(
        action=Action.BLOCK,
        rail="contacts",
        stage=Stage.TOOL_CALL,
        reason=f"an argument holds {word}",
        spans=[Span(start=0, end=8, label="email")],
        scores={"pii": 0.9},
        labels=["contact"],
        policy_sha256=SHA,
        milliseconds=1.5,
    )


def work(word: str) -> list[RunEvent]:
    """What a worker writes, up to a call that needs a person."""
    call = ToolCall(id="c1", function=FunctionCall(name="note", arguments=f'{{"text": "{word}"}}'))
    asked = call.model_copy(update={"id": "c2"})
    source = Source(argument="text", value=word, origin=Whence.USER)
    return [
        Planned(goal=f"serve {word}", tools=["note"], model=MODEL),
        Judged(verdict=verdict(word)),
        CallsDecided(calls=[call], text=word, problem=None, model=MODEL),
        ToolIntent(
            call_id="c1", tool="note", arguments={"text": word}, key="k", effect="unsafe", args_sha256=SHA,
            policy_sha256=SHA, fence=1,
        ),
        ToolResult(
            call_id="c1", tool="note", ok=False, content={"of": word}, error=word, note=word, traceback=word, seconds=2
        ),
        ContextCompacted(
            through_step=1, digest=[word], tokens_before=2, tokens_after=1, limit=3, chars_per_token=1.0
        ),
        CallsDecided(calls=[asked], model=MODEL),
        ApprovalRequested(
            approval_id="apr_1", call_id="c2", tool="note", arguments={"text": word}, reason=word,
            asked=[word], figures=[word], args_sha256=SHA, policy_sha256=SHA, sources=[source], expires_at=LATER,
        ),
    ]  # fmt: skip


def ending(word: str) -> list[RunEvent]:
    error = RunError(code="tool_error", message=word)
    ended = RunEnded(
        status=RunStatus.FAILED, stop_reason=StopReason.ERROR, output=[TextPart(text=word)], error=error, tainted=True
    )
    return [Judged(verdict=verdict(word)), Replied(text=word, model=MODEL), ended]


async def whole_run(journal: Journal, word: str = WORD, subject: Subject | None = WHO, **fields: Any) -> Run:
    """A run with everything, which has ended."""
    made = creation(word, subject, **fields)
    run = (await journal.create(made, Idempotency(f"key-{made.session_id}", SHA), [verdict(word)], ANN)).run
    claim = await journal.claim("w1", 30)
    assert claim is not None
    assert claim.run.id == run.id
    events = work(word)
    identified = events[-1].model_copy(update={"approval_id": f"apr_{run.id}"})
    await journal.append(run.id, [*events[:-1], identified], claim.lease)
    await journal.release(claim.lease, RunStatus.WAITING_APPROVAL)
    await journal.decide("default", f"apr_{run.id}", "deny", "key:ann", f"no, {word}", ANN)
    claim = await journal.claim("w1", 30)
    assert claim is not None
    await journal.append(run.id, ending(word), claim.lease)
    feedback = Rating(score=2, resolved=False, comment=word[:1000])
    await journal.append(run.id, [FeedbackGiven(feedback=feedback), OutcomeVerified(solved=False, by=word)])
    return await journal.get("default", run.id)


def stored(journal: StoreJournal, url: str | None) -> str:
    """Everything that a journal has. ``url``: of its database; None: it is in memory."""
    if url is None:
        return repr(vars(journal._backend._tables))  # type: ignore[attr-defined]
    engine = create_engine(synchronous(url))
    with engine.connect() as connection:
        found = [
            repr(tuple(row)) for table in metadata.tables for row in connection.execute(text(f"SELECT * FROM {table}"))
        ]
    engine.dispose()
    return "\n".join(found)


def bytes_of(path: Path) -> bytes:
    """All files of an SQLite database, also what is not in its tables any more."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")) if file.is_file())


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


async def erase(journal: StoreJournal, wanted: ErasureFilter = PERSON) -> int:
    """As the command does it."""
    ids = [*await journal.erasure.unfinished(wanted.tenant_id), *[run.id async for run in journal.erasure.runs(wanted)]]
    for run_id in dict.fromkeys(ids):
        await journal.erasure.erase(run_id, wanted.reason, ANN)
    await journal.erasure.erase_besides(wanted, ANN)
    return len(ids)


def bound_key() -> ApiKey:
    return ApiKey(
        id="key_9", tenant_id="default", name=f"{WORD}'s phone", role=Role.OPERATOR, speaks_for=SpeaksFor.ONE,
        subject=WHO, created_at=datetime.now(UTC),
    )  # fmt: skip


async def everything(journal: StoreJournal) -> list[str]:
    """A person in all tables. Returns the ids of the person's runs."""
    run = await whole_run(journal)
    fork = creation(session_id="s2", origin=Origin(run_id=run.id, step=1))
    forked = (await journal.create(fork, Idempotency("fork", "d"))).run
    claim = await journal.claim("w1", 30)
    assert claim is not None
    ended = RunEnded(status=RunStatus.FAILED, stop_reason=StopReason.ERROR)
    parent = Parent(call_id="c", callers=[Caller(run_id=forked.id, agent="helper")], user_text=WORD)
    child = creation(session_id="s2", parent=parent).model_copy(update={"run_id": "run_child"})
    await journal.append(forked.id, [], claim.lease, [child])
    below = await journal.claim("w1", 30)
    assert below is not None
    assert below.run.id == "run_child"
    await journal.append("run_child", [ended], below.lease)
    await journal.append(forked.id, [ended.model_copy(update={"output": creation().input})], claim.lease)
    stop = await journal.raise_interrupt(
        "default",
        "subject",
        WHO.id,
        f"{WORD} is suspicious",
        "key:ann",
        idempotency=Idempotency("stop", "d"),
        actor=ANN,
    )
    await journal.clear_interrupt("default", stop.id, ANN, f"{WORD} is not")
    await journal.keys.add(bound_key(), "digest", idempotency=Idempotency("key", "d"), actor=ANN)
    return [run.id, forked.id, "run_child"]


class Failing:
    """A backend whose nth write fails: before it is done, or after it, when nobody learns of its result."""

    def __init__(self, backend: Any, left: int, after: bool) -> None:
        self._backend = backend
        self._left = left
        self._after = after
        self.failed = False

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._backend.read(work)  # type: ignore[no-any-return]

    async def compact(self, whole: bool) -> list[str]:
        return []

    async def write(self, work: Callable[[Transaction], T]) -> T:
        self._left -= 1
        if self._left == 0:
            self.failed = True
            if self._after:
                await self._backend.write(work)
            raise StoreUnavailable("killed")
        return await self._backend.write(work)  # type: ignore[no-any-return]
