"""Answers of an agent with a hotel's tools, judged by the default policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Stage
from guardrails.guard import Guard
from guardrails.policy import default_policy
from guardrails.rails.claims import LABEL
from guardrails.types import Checked, GuardContext, Past, Ruling, Write


def tool(name: str, description: str) -> ToolSpec:
    return ToolSpec(name, description, {"type": "object"}, Effect.KEYED)


TOOLS = (
    tool("reserve_room", "Reserves a room."),
    tool("move_reservation", "Moves a reservation to other days."),
    tool("cancel_reservation", "Cancels a reservation."),
    tool("order_breakfast", "Orders breakfast to a room."),
)


def made(name: str, *, ok: bool = True, told: str = "", run: str = "", **arguments: Any) -> Write:
    return Write(name, arguments, ok, told if ok else f"error: {told}", run)


ROOM = made(
    "reserve_room",
    guest="Ada Moor",
    day="2027-05-14",
    told='{"number":517,"guest":"Ada Moor","day":"2027-05-14","nights":2}',
    run="one",
)
MOVED = made("move_reservation", number=512, day="2027-05-11", told='{"number":512}', run="one")
NOT_MOVED = made("move_reservation", ok=False, number=514, day="2027-05-12", told="no room is free", run="two")
MOVED_THEN = made("move_reservation", number=514, day="2027-05-13", told='{"number":514}', run="two")
CANCELLED = made("cancel_reservation", number=514, told='{"number":514,"status":"cancelled"}', run="two")
NOT_CANCELLED = made("cancel_reservation", ok=False, number=513, told="today's can't be cancelled", run="two")
CANCELLED_BEFORE = made("cancel_reservation", ok=False, number=512, told="512 is cancelled already", run="two")
BREAKFAST = made("order_breakfast", guest="Ada Moor", dish="eggs", told='{"dish":"eggs"}', run="one")
LISTED = (
    '[{"number":511,"guest":"Bo Lund","bill":20391,"status":"reserved"},'
    '{"number":517,"guest":"Ada Moor","bill":20417,"status":"reserved"}]'
)


async def judged(
    text: str,
    asked: str = "",
    *,
    now: Sequence[Write] = (),
    before: Sequence[Write] = (),
    results: Sequence[str] | None = None,
    **context: Any,
) -> Ruling:
    """
    Args:
        now: calls of the run; ``before``: of the session's earlier ones.
        results: of the run; by default those of its calls.
    """

    async def past(args_sha256: str | None = None, tool: str | None = None) -> Past:
        return Past(writes=tuple(before), asked=asked)

    told = [write.result for write in now if write.ok] if results is None else results
    fields = {"agent": "desk", "run_id": "run", "writers": TOOLS, "user_text": asked, **context}
    return await Guard(default_policy()).check(
        Checked(Stage.FINAL, text, GuardContext(writes=tuple(now), past=past, results=tuple(told), **fields))
    )


async def is_false(text: str, asked: str = "", **rest: Any) -> bool:
    return any(LABEL in verdict.labels for verdict in (await judged(text, asked, **rest)).verdicts)
