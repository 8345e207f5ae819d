"""The guard: one compiled policy, asked at every stage. Fails closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from flightloop.chat import ToolDef
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.aside import aside, on_behalf_of
from guardrails.combinators import Clock, failure
from guardrails.compile import compile_stage, detectors
from guardrails.holdback import HoldBack
from guardrails.holdback import StreamBlocked as StreamBlocked
from guardrails.narrow import narrow, unread_characters
from guardrails.policy import Policy
from guardrails.types import GuardContext, Judge, Judgement, Rail, Ruling, Subject, asked_about, severest

APPROVED = "approved"
"""Label of a verdict that would have asked, had a person not approved this call already."""


class Guard:
    """Judges every step of a run by one policy. Immutable; shared by all runs under that policy.

    Args:
        judge: a model to ask in the grey band and for the constitution. A policy that needs one
            blocks without it.
        clock: seconds, for measuring a stage's time.
        rails: rails of stages to use instead of the policy's, for programs that bring their own.
    """

    def __init__(
        self,
        policy: Policy,
        judge: Judge | None = None,
        clock: Clock = time.perf_counter,
        rails: dict[Stage, Rail] | None = None,
    ) -> None:
        self.policy = policy
        self._clock = clock
        compiled = {stage: compile_stage(policy, stage, judge, clock) for stage in Stage}
        self._rails = compiled | (rails or {})
        self._detectors, self._strip = detectors(policy.document)

    async def check(self, subject: Subject) -> Ruling:
        """The ruling on one subject: an exception, an overrun, or no decision is a block, unless the policy
        lets the stage fail open, which the verdict then says. Never raises but on cancellation."""
        judgement = await self._judged(subject)
        verdicts = tuple(self._stamped(verdict, subject.stage) for verdict in _approved(subject, judgement.verdicts))
        action = severest(verdict.action for verdict in verdicts)
        reasons = [asked_about(verdict) for verdict in verdicts if verdict.action is action]
        arguments = subject.call.arguments if subject.call else None
        return Ruling(
            action=action,
            text=subject.text if judgement.text is None else judgement.text,
            arguments=arguments if judgement.arguments is None else judgement.arguments,
            verdicts=verdicts,
            reason="; ".join(reasons) if action is not Action.ALLOW else "",
            tainted=subject.context.tainted or judgement.tainted,
        )

    async def narrow(
        self, tools: Sequence[ToolDef], context: GuardContext, writes: frozenset[str] = frozenset()
    ) -> list[ToolDef]:
        """The tools to offer the model, their schemas narrowed; see ``guardrails.narrow``."""
        document = self.policy.document
        with on_behalf_of(context.tenant_id):
            return await aside(unread_characters(document, tools, context), narrow, document, tools, context, writes)

    def stream(self, context: GuardContext) -> HoldBack:
        """A hold-back for one answer; in a policy with held streams it releases all at the end."""
        return HoldBack(
            self._detectors,
            context,
            held=self.policy.document.streaming == "held",
            strip=self._strip,
            policy_sha256=self.policy.sha256,
        )

    def _stamped(self, verdict: Verdict, stage: Stage) -> Verdict:
        """With policy and stage; most have them, and a copy takes as long as many a rail."""
        if (verdict.policy_sha256, verdict.stage) == (self.policy.sha256, stage):
            return verdict
        return verdict.model_copy(update={"policy_sha256": self.policy.sha256, "stage": stage})

    async def _judged(self, subject: Subject) -> Judgement:
        stage = self.policy.document.stages.of(subject.stage)
        if len(subject.text) > stage.max_chars:
            reason = f"{len(subject.text)} characters are more than the limit of {stage.max_chars}"
            return Judgement((_verdict(subject, "limits", reason),))
        limit, began = stage.timeout_ms / 1000, self._clock()
        late = f"took longer than {stage.timeout_ms} ms"
        try:
            with on_behalf_of(subject.context.tenant_id):
                async with asyncio.timeout(limit):
                    judgement = await self._rails[subject.stage](subject)
        except TimeoutError:
            return Judgement((failure(subject, "timeout", late, stage.fail_open),))
        except Exception as error:
            reason = f"failed: {type(error).__name__}: {error}"
            return Judgement((failure(subject, "stage", reason, stage.fail_open),))
        if not isinstance(judgement, Judgement):
            return Judgement((failure(subject, "stage", "made no decision", stage.fail_open),))
        if self._clock() - began > limit:  # rails that never waited cannot be cut short, but count as late all the same
            overrun = failure(subject, "timeout", late, stage.fail_open)
            return replace(judgement, verdicts=(*judgement.verdicts, overrun))
        return judgement


def _verdict(subject: Subject, rail: str, reason: str) -> Verdict:
    return Verdict(action=Action.BLOCK, rail=rail, stage=subject.stage, reason=reason)


def _approved(subject: Subject, verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    """What a person approved, by the very arguments and under this policy, is not asked again. What the person was not
    asked about, since it has come up later, is."""
    call, context = subject.call, subject.context
    if subject.stage is not Stage.TOOL_CALL or call is None or call.args_sha256 not in context.approved_args:
        return verdicts
    return tuple(
        verdict.model_copy(update={"action": Action.ALLOW, "labels": [*verdict.labels, APPROVED]})
        if verdict.action is Action.ASK and asked_about(verdict) in context.approved_for
        else verdict
        for verdict in verdicts
    )
