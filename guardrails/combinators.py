"""Builds rails from rails: ``chain``, ``parallel``, ``for_tools``, ``named``.

The severest action wins. A rail that raises, or returns anything but a ``Judgement``, has made no
decision, and a missing decision blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from flightloop.verdicts import Action, Verdict
from guardrails.approval_rule import strictest
from guardrails.types import Checked, Judgement, Rail

FAIL_OPEN = "fail_open"
"""Label of a verdict that allows in spite of a failure, since the policy lets the stage fail open."""
FAIL_CLOSED = "fail_closed"
"""Label of a verdict that blocks because of a failure."""

Clock = Callable[[], float]

MOST_PASSES = 5
"""Times that `settled` runs a rail. An answer needs two where a finding stood beside another one."""


def failure(checked: Checked, rail: str, reason: str, fail_open: bool = False) -> Verdict:
    """The verdict for a rail that made no decision."""
    return Verdict(
        action=Action.ALLOW if fail_open else Action.BLOCK,
        rail=rail,
        stage=checked.stage,
        reason=reason,
        labels=[FAIL_OPEN if fail_open else FAIL_CLOSED],
    )


def named(
    name: str, rail: Rail, *, fail_open: bool = False, clock: Clock = time.perf_counter, policy_sha256: str = ""
) -> Rail:
    """Wraps a rail: times it, stamps its verdicts with name and policy, and turns its failure into a verdict."""

    async def check(checked: Checked) -> Judgement:
        began = clock()
        try:
            judgement: Any = await rail(checked)
        except Exception as error:
            judgement = Judgement((failure(checked, name, f"failed: {type(error).__name__}: {error}", fail_open),))
        decided = (
            judgement
            if isinstance(judgement, Judgement)
            else Judgement((failure(checked, name, "made no decision", fail_open),))
        )
        stamps = {"milliseconds": round(1000 * (clock() - began), 3), "policy_sha256": policy_sha256}
        verdicts = tuple(
            verdict.model_copy(update={"rail": verdict.rail or name, **stamps}) for verdict in decided.verdicts
        )
        return replace(decided, verdicts=verdicts)

    return check


def chain(*rails: Rail) -> Rail:
    """Runs rails in order, each on the output of the one before. A block ends the chain.

    A chain without rails makes no decision, so it blocks.
    """

    async def check(checked: Checked) -> Judgement:
        if not rails:
            return Judgement((failure(checked, "chain", "made no decision: it has no rails"),))
        total, current = Judgement(), checked
        for rail in rails:
            judgement = await rail(current)
            total = _join(total, judgement)
            if judgement.action is Action.BLOCK:
                break
            current = _after(current, judgement)
        return total

    return check


def settled(rail: Rail) -> Rail:
    """Runs a rail again on what it has left, until it changes nothing more: a label in place of one finding can uncover
    another beside it. It blocks what it still changes after `MOST_PASSES`."""

    async def check(checked: Checked) -> Judgement:
        total, current = Judgement(), checked
        for _ in range(MOST_PASSES):
            judgement = await rail(current)
            total = _join(total, judgement)
            if judgement.action is Action.BLOCK or judgement.text in (None, current.text):
                return total
            current = _after(current, judgement)
        return _join(total, Judgement((failure(checked, "settled", "the text changes each time it is checked"),)))

    return check


def parallel(*rails: Rail) -> Rail:
    """Runs each rail on the same text or call, regardless of the other rails' verdicts.

    The rails run one after the other: they seldom wait, and a task costs more than most rails.
    If two rails replace the same part (the text or the arguments), the result is a block.
    """

    async def check(checked: Checked) -> Judgement:
        if not rails:
            return Judgement((failure(checked, "parallel", "made no decision: it has no rails"),))
        total = Judgement()
        for rail in rails:
            judgement = await rail(checked)
            clash = (total.text is not None and judgement.text is not None) or (
                total.arguments is not None and judgement.arguments is not None
            )
            total = _join(total, judgement)
            if clash:
                total = _join(total, Judgement((failure(checked, "parallel", "two rails replaced the same part"),)))
        return total

    return check


def for_tools(names: Iterable[str], rail: Rail) -> Rail:
    """Applies the rail to calls and results of these tools (exact names); others pass."""
    chosen = frozenset(names)

    async def check(checked: Checked) -> Judgement:
        applies = checked.call is not None and checked.call.spec.name in chosen
        return await rail(checked) if applies else Judgement()

    return check


def _join(first: Judgement, second: Judgement) -> Judgement:
    return Judgement(
        verdicts=first.verdicts + second.verdicts,
        text=first.text if second.text is None else second.text,
        arguments=first.arguments if second.arguments is None else second.arguments,
        tainted=first.tainted or second.tainted,
        shares=first.shares + second.shares,
        approval=strictest((first.approval, second.approval)),
        guessed=first.guessed + second.guessed,
    )


def _after(checked: Checked, judgement: Judgement) -> Checked:
    if judgement.text is not None:
        checked = replace(checked, text=judgement.text)
    if judgement.arguments is not None and checked.call is not None:
        checked = replace(checked, call=replace(checked.call, arguments=judgement.arguments))
    if judgement.tainted:
        checked = replace(checked, context=replace(checked.context, tainted=True))
    return checked
