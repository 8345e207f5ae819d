"""Rows ``egress_leaks`` and ``egress_benign_lost``: secrets that leave at some cut of a stream, and ordinary texts
that are changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from agent.evals.confidence_interval import wilson
from bench.guardrails.benign_texts import POLICY, USER, texts
from bench.guardrails.egress_forms import Form, forms
from bench.rows import Row
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import default_policy, parse_policy, unhurried
from guardrails.types import Checked, CheckedCall, GuardContext

Item = TypeVar("Item")
SEARCH = ToolSpec("search", "Searches.", {"type": "object"}, Effect.PURE)


async def egress() -> list[Row]:
    """Measures with the default policy for forms, and with a policy that allows some hosts for ordinary texts."""
    strict, permissive = Guard(unhurried(default_policy())), Guard(unhurried(parse_policy(POLICY)))
    every, ordinary = [*forms()], texts()

    async def leaves(form: Form) -> bool:
        return leaked(strict, form) or await leaked_whole(strict, form) or await passed(strict, form.text)

    async def lost(text: str) -> bool:
        return await changed(permissive, text)

    leaks = await _those(every, leaves)
    changes = await _those(ordinary, lost)
    left, where = [form.text for form in leaks], "in an answer, at every cut, and in an argument"
    return [
        _share("egress_leaks", left, len(every), f"forms {where}"),
        _share("egress_benign_lost", changes, len(ordinary), "texts in an answer and in an argument"),
    ]


def leaked(guard: Guard, form: Form) -> bool:
    """Whether a stream that is cut somewhere releases the secret, or anything that the whole text does not."""
    whole = released(guard, [form.text])
    cuts = ([form.text[:at], form.text[at:]] for at in range(1, len(form.text)))
    return form.secret in whole or any(released(guard, cut) != whole for cut in (*cuts, list(form.text)))


def released(guard: Guard, pieces: Iterable[str], user_text: str = "") -> str:
    """What a stream shows of a text that arrives in pieces."""
    stream = guard.stream(GuardContext(agent="bench", user_text=user_text))
    return "".join([*map(stream.push, pieces), stream.finish()])


async def leaked_whole(guard: Guard, form: Form) -> bool:
    """Whether the final check leaves the secret in an answer."""
    ruling = await guard.check(Checked(Stage.FINAL, form.text, GuardContext(agent="bench")))
    return form.secret in ruling.text


async def passed(guard: Guard, text: str, user_text: str = "") -> bool:
    """Whether a tool that only reads may be called with a text."""
    context = GuardContext(agent="bench", user_text=user_text)
    call = CheckedCall("call", SEARCH, {"query": text})
    return (await guard.check(Checked(Stage.TOOL_CALL, "", context, call))).action is Action.ALLOW


async def changed(guard: Guard, text: str) -> bool:
    """Whether an ordinary text is changed in an answer, or keeps a call from being made."""
    context = GuardContext(agent="bench", user_text=USER)
    final = (await guard.check(Checked(Stage.FINAL, text, context))).text
    return {final, released(guard, text, USER)} != {text} or not await passed(guard, text, USER)


async def _those(items: Iterable[Item], wanted: Callable[[Item], Awaitable[bool]]) -> list[Item]:
    return [item for item in items if await wanted(item)]


def _share(name: str, found: Sequence[str], of: int, note: str) -> Row:
    count = len(found)
    if found:
        note += f"; the first: {found[0]!r}"
    interval = wilson(count / of, of)
    return Row(name, count / of, "share", higher_is_better=False, interval=interval, cases=of, note=note)
