"""Emergency stop for requests: refuses new work, and cancels long checks before and after the model's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from agent.api.completions.cancellation import first_of
from agent.api.deps import ApiDeps
from agent.model_call.call import STOPPED
from flightloop.chat import Tags
from flightloop.errors import Interrupted
from flightloop.subject import Subject
from guardrails.interrupt import InterruptWatch

T = TypeVar("T")
_SOON_S = 0.05
"""Seconds before interrupts are first polled; most work ends earlier."""


async def refuse_if_interrupted(
    deps: ApiDeps,
    tenant_id: str,
    agent: str | None = None,
    session_id: str | None = None,
    subject: Subject | None = None,
) -> int:
    """Checks that no interrupt stops the work, and returns the current interrupt epoch.

    Raises:
        Interrupted: a matching interrupt is active.
    """
    snapshot = await deps.journal.interrupt_snapshot()
    watch = InterruptWatch(lambda: snapshot, max_silence_s=60.0)
    watch.poll()
    whose = subject.id if subject is not None else None
    found = watch.active(Tags(tenant_id=tenant_id, agent=agent, session_id=session_id, subject=whose))
    if found is not None:
        why = f" ({found.reason})" if found.reason else ""
        raise Interrupted(f"interrupt {found.id} stops {_scope(found.scope, found.target)}{why}; clear it to continue")
    return watch.epoch()


async def unless_stopped(deps: ApiDeps, work: Coroutine[Any, Any, T], tags: Tags, epoch: int) -> T:
    """Runs ``work``, which may call a model for minutes, unless an interrupt stops it.

    Raises:
        Interrupted: a matching interrupt was raised meanwhile; the work is cancelled.
    """

    async def stop() -> None:
        await asyncio.sleep(_SOON_S)
        await deps.interrupts.raised(tags, epoch)

    done = await first_of(_boxed(work), stop())
    if done is None:
        raise Interrupted(STOPPED)
    return done[0]


async def _boxed(work: Coroutine[Any, Any, T]) -> tuple[T]:
    return (await work,)


def _scope(scope: str, target: str | None) -> str:
    return "everything" if scope == "all" else f"{scope} {target}"
