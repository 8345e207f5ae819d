"""Combines several guards: a step has to pass all of them in order, and the severest action counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from flightloop.chat import ToolDef
from flightloop.egress import EgressEntry, address_text, permits
from guardrails.approval_rule import strictest
from guardrails.holdback import StreamBlocked
from guardrails.placeholder_policy import all_of
from guardrails.placeholders.judge import also_masking
from guardrails.policy import Policy
from guardrails.types import Checked, CheckedCall, GuardContext, Guarding, GuardStream, Ruling, severest


class Layered:
    """Guard of a run that works for another run.

    Args:
        guards: guards of the callers and, last, of the run itself. Each sees the text as redacted by the previous one.
    """

    def __init__(self, guards: Sequence[Guarding]) -> None:
        self._guards = guards
        self.policy = _policy([guard.policy for guard in guards])

    async def check(self, checked: Checked) -> Ruling:
        rulings: list[Ruling] = []
        with also_masking(self.policy.document.placeholders):
            for guard in self._guards:
                rulings.append(ruling := await guard.check(checked))
                checked = _passed_on(checked, ruling)
        return _together(rulings)

    async def narrow(
        self, tools: Sequence[ToolDef], context: GuardContext, writes: frozenset[str] = frozenset()
    ) -> list[ToolDef]:
        narrowed = list(tools)
        for guard in self._guards:
            narrowed = await guard.narrow(narrowed, context, writes)
        return narrowed

    def stream(self, context: GuardContext) -> GuardStream:
        return _Streams([guard.stream(context) for guard in self._guards])


class _Streams:
    """Stream filter of several guards in a row: each gets what the one before it releases."""

    def __init__(self, streams: Sequence[GuardStream]) -> None:
        self._streams = streams

    def push(self, text: str) -> str:
        return self._passed(text, last=False)

    def finish(self) -> str:
        return self._passed("", last=True)

    def _passed(self, text: str, *, last: bool) -> str:
        """The text that all streams release. Raises StreamBlocked once all have seen the text before the finding."""
        blocked = False
        for stream in self._streams:
            released = ""
            try:
                released = stream.push(text)
                # Of a blocked answer, a later stream releases only what it has settled: the rest could be a secret.
                released += stream.finish() if last and not blocked else ""
            except StreamBlocked as found:
                released, blocked = released + found.before, True
            text = released
        if blocked:
            raise StreamBlocked(self.ruling(), text)
        return text

    def ruling(self) -> Ruling:
        return _together([stream.ruling() for stream in self._streams])


def _passed_on(checked: Checked, ruling: Ruling) -> Checked:
    call, context = checked.call, checked.context
    if call is not None and ruling.arguments is not None and ruling.arguments != call.arguments:
        changed = CheckedCall(call.call_id, call.spec, ruling.arguments, confidence=call.confidence)
        if call.args_sha256 in context.approved_args:  # a person approved the arguments before the redaction
            context = replace(context, approved_args=context.approved_args | {changed.args_sha256})
        call = changed
    return replace(checked, text=ruling.text, call=call, context=replace(context, tainted=ruling.tainted))


def _together(rulings: Sequence[Ruling]) -> Ruling:
    action = severest(ruling.action for ruling in rulings)
    last = rulings[-1]
    return Ruling(
        action=action,
        text=last.text,
        arguments=last.arguments,
        verdicts=tuple(verdict for ruling in rulings for verdict in ruling.verdicts),
        reason="; ".join(ruling.reason for ruling in rulings if ruling.action is action and ruling.reason),
        tainted=any(ruling.tainted for ruling in rulings),
        shares=tuple(share for ruling in rulings for share in ruling.shares),
        approval=strictest(ruling.approval for ruling in rulings),
        guessed=tuple(name for ruling in rulings for name in ruling.guessed),
    )


def _policy(policies: Sequence[Policy]) -> Policy:
    """The last policy, restricted by the others: egress hosts that all permit, the strictest streaming and plan lock,
    and all placeholders.

    Its hash covers all policies.
    """
    *others, own = policies
    allowed = tuple(entry for text in own.document.egress.hosts for entry in _common(text, others))
    egress = own.document.egress.model_copy(update={"hosts": allowed})
    digest = hashlib.sha256("".join(policy.sha256 for policy in policies).encode()).hexdigest()
    held = any(policy.document.streaming == "held" for policy in policies)
    locks = [policy.document.tools.lock_to_plan for policy in policies]
    lock = next((one for one in ("block", "ask", "confirm", "auto") if one in locks), "off")
    tools = own.document.tools.model_copy(update={"lock_to_plan": lock})
    hidden = all_of([policy.document.placeholders for policy in policies])
    changed = {"egress": egress, "streaming": "held" if held else "live", "tools": tools, "placeholders": hidden}
    return Policy(own.name, own.version, digest, own.document.model_copy(update=changed))


def _common(text: str, others: Sequence[Policy]) -> Iterator[str]:
    """The part of an egress entry that the other policies permit: all of it, or some of its ports."""
    entry = EgressEntry.parse(text)
    lists = [policy.document.egress.hosts for policy in others]
    left = [port for port in sorted(entry.ports) if all(permits(hosts, entry.host, port) for hosts in lists)]
    if len(left) == len(entry.ports):
        yield text
    else:
        yield from (address_text(entry.host, port) for port in left)
