"""The guard: runs a compiled policy at every stage. Fails closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from flightloop.chat import ToolDef
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.approval_rule import ApprovalRule, strictest
from guardrails.aside import aside, on_behalf_of
from guardrails.combinators import Clock, failure
from guardrails.compile import RailDependencies, compile_stage, detectors
from guardrails.holdback import HoldBack
from guardrails.holdback import StreamBlocked as StreamBlocked
from guardrails.narrow import narrow, unread_characters
from guardrails.placeholders.judge import masking_judge
from guardrails.policy import Policy
from guardrails.rails.code import CodeScan
from guardrails.rails.moderation import Moderate
from guardrails.types import Checked, GuardContext, Judge, Judgement, Rail, Ruling, asked_about, severest

APPROVED = "approved"
"""Label of a verdict that allows because a person has approved the call already."""


class Guard:
    """Checks every step of a run against one policy. Immutable; shared by all runs under that policy.

    Args:
        judge: model for the grey band of the content rail and for the constitution. Without it, a policy
            that needs one blocks.
        clock: returns seconds; measures the time of each stage.
        rails: rails that replace those of the policy at some stages, for programs with their own checks.
        code_scan: scanner for the rail ``code_scan``. Without it, a policy that lists the rail blocks.
        moderate: HTTP client for the rail ``moderation``. Without it, a policy that lists the rail blocks.
    """

    def __init__(
        self,
        policy: Policy,
        judge: Judge | None = None,
        clock: Clock = time.perf_counter,
        rails: dict[Stage, Rail] | None = None,
        code_scan: CodeScan | None = None,
        moderate: Moderate | None = None,
    ) -> None:
        self.policy = policy
        self._clock = clock
        hidden = masking_judge(judge, policy.document.placeholders) if judge is not None else None
        deps = RailDependencies(hidden, code_scan, moderate)
        compiled = {stage: compile_stage(policy, stage, deps, clock) for stage in Stage}
        self._rails = compiled | (rails or {})
        self._detectors, self._strip = detectors(policy.document)

    async def check(self, checked: Checked) -> Ruling:
        """The ruling on one text or call. Raises only when cancelled.

        An exception, a timeout or a missing decision blocks, unless the policy lets the stage fail open; the
        verdict then has the label ``fail_open``.
        """
        judgement = await self._judged(checked)
        approval = strictest((self.policy.document.tools.approval, judgement.approval))
        verdicts = tuple(self._stamped(verdict, checked.stage) for verdict in _approved(checked, judgement, approval))
        action = severest(verdict.action for verdict in verdicts)
        reasons = [asked_about(verdict) for verdict in verdicts if verdict.action is action]
        arguments = checked.call.arguments if checked.call else None
        return Ruling(
            action=action,
            text=checked.text if judgement.text is None else judgement.text,
            arguments=arguments if judgement.arguments is None else judgement.arguments,
            verdicts=verdicts,
            reason="; ".join(reasons) if action is not Action.ALLOW else "",
            tainted=checked.context.tainted or judgement.tainted,
            shares=judgement.shares,
            guessed=judgement.guessed,
            approval=approval,
        )

    async def narrow(
        self, tools: Sequence[ToolDef], context: GuardContext, writes: frozenset[str] = frozenset()
    ) -> list[ToolDef]:
        """The tools to offer to the model, with narrowed schemas; see ``guardrails.narrow``."""
        document = self.policy.document
        with on_behalf_of(context.tenant_id):
            return await aside(unread_characters(document, tools, context), narrow, document, tools, context, writes)

    def stream(self, context: GuardContext) -> HoldBack:
        """Creates the stream filter for one answer. If the policy sets ``streaming: held``, it releases all text at the
        end."""
        return HoldBack(
            self._detectors,
            context,
            held=self.policy.document.streaming == "held",
            strip=self._strip,
            policy_sha256=self.policy.sha256,
        )

    def _stamped(self, verdict: Verdict, stage: Stage) -> Verdict:
        """Adds policy and stage. Copies the verdict only if they are missing: a copy costs as much as a simple rail."""
        if (verdict.policy_sha256, verdict.stage) == (self.policy.sha256, stage):
            return verdict
        return verdict.model_copy(update={"policy_sha256": self.policy.sha256, "stage": stage})

    async def _judged(self, checked: Checked) -> Judgement:
        stage = self.policy.document.stages.of(checked.stage)
        if len(checked.text) > stage.max_chars:
            reason = f"the text has {len(checked.text)} characters; the limit is {stage.max_chars}"
            return Judgement((_verdict(checked, "limits", reason),))
        limit, began = stage.timeout_ms / 1000, self._clock()
        late = f"took longer than {stage.timeout_ms} ms"
        try:
            with on_behalf_of(checked.context.tenant_id):
                async with asyncio.timeout(limit):
                    judgement = await self._rails[checked.stage](checked)
        except TimeoutError:
            return Judgement((failure(checked, "timeout", late, stage.fail_open),))
        except Exception as error:
            reason = f"failed: {type(error).__name__}: {error}"
            return Judgement((failure(checked, "stage", reason, stage.fail_open),))
        if not isinstance(judgement, Judgement):
            return Judgement((failure(checked, "stage", "made no decision", stage.fail_open),))
        if self._clock() - began > limit:  # a rail that never awaits cannot be cancelled, but still counts as late
            overrun = failure(checked, "timeout", late, stage.fail_open)
            return replace(judgement, verdicts=(*judgement.verdicts, overrun))
        return judgement


def _verdict(checked: Checked, rail: str, reason: str) -> Verdict:
    return Verdict(action=Action.BLOCK, rail=rail, stage=checked.stage, reason=reason)


def _approved(checked: Checked, judgement: Judgement, approval: ApprovalRule) -> tuple[Verdict, ...]:
    """Turns ASK verdicts into ALLOW if a person approved these arguments under this policy.

    A verdict that the person was not asked about still asks. If what is used of a limit has changed since, or other
    persons have to decide now, all ask.
    """
    call, context, verdicts = checked.call, checked.context, judgement.verdicts
    if checked.stage is not Stage.TOOL_CALL or call is None or call.args_sha256 not in context.approved_args:
        return verdicts
    if any(share.exceeds and share.figures not in context.approved_for for share in judgement.shares):
        return verdicts
    if not context.approved_under.covers(approval):
        return verdicts
    return tuple(
        verdict.model_copy(update={"action": Action.ALLOW, "labels": [*verdict.labels, APPROVED]})
        if verdict.action is Action.ASK and asked_about(verdict) in context.approved_for
        else verdict
        for verdict in verdicts
    )
