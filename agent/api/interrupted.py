"""The emergency stop, as the API sees it: at admission, and for answers of models that do not poll it."""

from __future__ import annotations

import asyncio

import structlog

from agent.api.deps import ApiDeps
from flightloop.chat import Tags
from flightloop.errors import Interrupted
from guardrails.interrupt import InterruptWatch

log = structlog.get_logger(__name__)


async def refuse_if_interrupted(
    deps: ApiDeps, tenant_id: str, agent: str | None = None, session_id: str | None = None
) -> int:
    """The epoch at admission.

    Raises:
        Interrupted: an interrupt that matches is latched.
    """
    watch = await _watch(deps)
    found = watch.active(Tags(tenant_id=tenant_id, agent=agent, session_id=session_id))
    if found is not None:
        why = f" ({found.reason})" if found.reason else ""
        raise Interrupted(f"interrupt {found.id} stops {_scope(found.scope, found.target)}{why}; clear it to go on")
    return watch.epoch()


async def interrupt_raised(deps: ApiDeps, tags: Tags, epoch: int) -> None:
    """Returns once an interrupt that matches was raised after ``epoch``, or when the journal could not be
    read for too long: what cannot be told to stop must not go on."""
    clock = asyncio.get_running_loop().time
    heard = clock()
    while True:
        try:
            async with asyncio.timeout(deps.interrupt_max_silence_s):
                watch = await _watch(deps)
            if watch.stopped(tags, epoch):
                return
            heard = clock()
        except Exception:
            log.exception("the interrupts cannot be read")
            if clock() - heard > deps.interrupt_max_silence_s:
                return
        await asyncio.sleep(deps.interrupt_poll_s)


async def _watch(deps: ApiDeps) -> InterruptWatch:
    snapshot = await deps.journal.interrupt_snapshot()
    watch = InterruptWatch(lambda: snapshot, max_silence_s=60.0)
    watch.poll()
    return watch


def _scope(scope: str, target: str | None) -> str:
    return "everything" if scope == "all" else f"{scope} {target}"
