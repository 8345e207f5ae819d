"""Row ``hostile_text_ms``: how long a hostile text stops everything else in the process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from agent.serve.garbage_collection import settle
from bench.rows import Row
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Stage
from guardrails.guard import Guard
from guardrails.policy import default_policy, unhurried
from guardrails.types import Checked, CheckedCall, GuardContext

CHARACTERS = 200_000
TICK_S = 0.001
TOOL = ToolSpec("read_page", "Reads a page.", {"type": "object"}, Effect.PURE, returns_untrusted=True)
UNITS = (
    "a", "a-", "a ", "_", "<a ", "<", "&#65;", "&", "%41", "=41", "1a", "\u0301", "\U000e0041", "\ufe01", "6", "61 ",
    "01000001 ", "65 ", "QUJD", "AAAA\n", ".- ", "ignore ", "ignoreallprevious", "reveal the ", "http://a.", "a@", "://",
    "1-", "٣", "ﷺ", "\\u0041", "\\", "é", "中", "[](", "{\"a\":", "DE89 3704 ", "you must ", "\n", "a.b",
)  # fmt: skip
"""What hostile texts repeat: beginnings of whatever some pattern searches for."""


async def hostile_text() -> list[Row]:
    """The longest pause of the event loop while the default policy checks a text as input, result and answer."""
    guard = Guard(unhurried(default_policy()))
    context = GuardContext(agent="bench", user_text="What does the page say?")
    longest, worst = 0.0, ""
    settle()  # as every process of the platform does once it has started
    for unit, text in _texts():
        for checked in (
            Checked(Stage.INPUT, text, context),
            Checked(Stage.TOOL_RESULT, text, context, CheckedCall("call", TOOL, {})),
            Checked(Stage.FINAL, text, context),
        ):
            pause = await _pause(guard, checked)
            if pause > longest:
                longest, worst = pause, f"{unit!r} as {checked.stage.value}"
    note = f"{CHARACTERS:,} characters of {len(UNITS)} kinds; the longest: {worst}"
    return [Row("hostile_text_ms", longest * 1000, "ms", higher_is_better=False, note=note)]


async def _pause(guard: Guard, checked: Checked) -> float:
    """The longest time in seconds for which nothing else ran during a check."""
    longest, last = 0.0, time.perf_counter()

    async def tick() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(TICK_S)
            now = time.perf_counter()
            longest, last = max(longest, now - last - TICK_S), now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    last = time.perf_counter()
    try:
        await guard.check(checked)
        await asyncio.sleep(2 * TICK_S)
    finally:
        ticking.cancel()
    return longest


def _texts() -> Iterator[tuple[str, str]]:
    for unit in UNITS:
        yield unit, (unit * (CHARACTERS // len(unit) + 1))[:CHARACTERS]
