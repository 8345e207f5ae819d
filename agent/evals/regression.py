"""Converts a run from the journal to a task with its user's messages and its tools' recorded results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.evals.judging import Judgement, judge
from agent.evals.task import Call, RecordedCall, Task, Turn
from agent.evals.transcript import Exchange, Transcript
from agent.loop.session import earlier
from agent.run.history import CallState, History
from agent.run.journal import Journal, all_events
from flightloop.content import TextPart, text_of
from flightloop.errors import Conflict, InvalidRequest
from flightloop.runs import Run, RunStatus

NOWHERE = Path()
"""Placeholder for the data folder, which recorded tasks don't use."""


@dataclass(frozen=True)
class Wanted:
    """Expectations of the task."""

    answer: Sequence[str] = ()
    called: Sequence[Call] = ()
    not_called: Sequence[Call] = ()
    ends: RunStatus = RunStatus.SUCCEEDED
    good: bool = False
    """Whether the recorded run must meet the expectations; otherwise it must not."""


async def regression(journal: Journal, tenant_id: str, run_id: str, wanted: Wanted) -> Task:
    """Makes a task from an ended run and the earlier runs of its session.

    Raises:
        NotFound: the tenant has no such run.
        Conflict: the run has not ended, or was erased.
        InvalidRequest: an input is not only text, or the run's own result contradicts ``wanted.good``.
        ValidationError: a task can't have these expectations.
    """
    run = await journal.get(tenant_id, run_id)
    if not run.status.terminal:
        raise Conflict(f"run {run_id} is {run.status}: it can only become a task after it has ended")
    if run.erased_at is not None:
        raise Conflict(f"run {run_id} was erased: nothing of it is left for a task")
    runs = [*await earlier(journal, run), run]
    exchanges = [Exchange(one, tuple(await all_events(journal, one.tenant_id, one.id))) for one in runs]
    task = Task(
        id=run.id,
        agent=run.agent,
        subject=run.subject,
        turns=[_turn(one) for one in runs],
        answer=list(wanted.answer),
        called=list(wanted.called),
        not_called=list(wanted.not_called),
        ends=wanted.ends,
        recorded=[call for one in exchanges for call in _recorded(History(one.run.id, one.events))],
    )
    _check(run, wanted, judge(NOWHERE, task, Transcript.of(exchanges)))
    return task


def _check(run: Run, wanted: Wanted, judgement: Judgement) -> None:
    """Raises InvalidRequest if a bad run solves its task, which could then detect nothing, or a good one doesn't."""
    if judgement.solved and not wanted.good:
        raise InvalidRequest(
            f"run {run.id} itself would solve this task: add the answer, calls or status that would have been right,"
            " or mark the run as good"
        )
    if wanted.good and not judgement.solved:
        raise InvalidRequest(f"run {run.id} would not solve this task itself: {'; '.join(judgement.problems)}")


def _turn(run: Run) -> Turn:
    if not all(isinstance(part, TextPart) for part in run.input):
        raise InvalidRequest(f"the input of run {run.id} is not only text; a task can't contain other parts")
    return Turn(user=text_of(run.input))


def _recorded(history: History) -> Iterator[RecordedCall]:
    for turn in history.turns:
        for state in turn.calls:
            call = _performed(state) or _denied(state)
            if call is not None:
                yield call


def _performed(state: CallState) -> RecordedCall | None:
    intent, result = state.intent, state.result
    if intent is None or result is None:
        return None
    return RecordedCall(
        tool=intent.tool,
        arguments=intent.arguments,
        ok=result.ok,
        content=result.content,
        error=result.error,
        note=result.note,
    )


def _denied(state: CallState) -> RecordedCall | None:
    asked, decided = state.request, state.decided
    if asked is None or decided is None or decided.decision == "approve":
        return None
    reason = decided.reason or ("nobody decided in time" if decided.decision == "expire" else "")
    return RecordedCall(tool=asked.tool, arguments=asked.arguments, denied=reason)
