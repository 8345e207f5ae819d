"""The emergency stop at admission: what it covers is not begun."""

from __future__ import annotations

from agent.api.deps import ApiDeps
from flightloop.chat import Tags
from flightloop.errors import Interrupted
from guardrails.interrupt import InterruptWatch


async def refuse_if_interrupted(
    deps: ApiDeps, tenant_id: str, agent: str | None = None, session_id: str | None = None
) -> int:
    """The epoch at admission.

    Raises:
        Interrupted: an interrupt that matches is latched.
    """
    snapshot = await deps.journal.interrupt_snapshot()
    watch = InterruptWatch(lambda: snapshot, max_silence_s=60.0)
    watch.poll()
    found = watch.active(Tags(tenant_id=tenant_id, agent=agent, session_id=session_id))
    if found is not None:
        why = f" ({found.reason})" if found.reason else ""
        raise Interrupted(f"interrupt {found.id} stops {_scope(found.scope, found.target)}{why}; clear it to go on")
    return watch.epoch()


def _scope(scope: str, target: str | None) -> str:
    return "everything" if scope == "all" else f"{scope} {target}"
