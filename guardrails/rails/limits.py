"""Rail of stage tool_call: limits on the sum or number of calls over time.

The rail reads what other calls have used and decides. It returns the call's shares, with which the journal checks the
limits once more in the transaction that writes the call's intent.
"""

from __future__ import annotations

from collections.abc import Sequence

from flightloop.verdicts import Action, Verdict
from guardrails.approval_rule import strictest
from guardrails.aside import aside
from guardrails.evidence.limit_amounts import Value, owner_of, share_of
from guardrails.limit_rules import OWNER, SESSION, SUBJECT, LimitRule
from guardrails.limit_share import LimitShare, NotCounted, plain
from guardrails.policy_document import PolicyDocument
from guardrails.rails.calls import Problem, call_of, characters_of, judgement_of
from guardrails.types import Checked, GuardContext, Judgement, Rail

RAIL = "limits"
LABEL = "limit"


def limits_rail(document: PolicyDocument) -> Rail:
    async def check(checked: Checked) -> Judgement:
        call, context = call_of(checked), checked.context
        applying = [(place, rule) for place, rule in enumerate(document.limits) if rule.applies_to(call.spec.name)]
        if not applying:
            return Judgement()
        owners = await _owners(document, [rule for _, rule in applying], checked)
        reads = any(rule.read is not None for _, rule in applying)
        shares = await aside(
            characters_of(checked, evidence=reads),
            lambda: [share_of(place, rule, call, context, owners) for place, rule in applying],
        )
        try:
            used = await context.used(call.call_id, shares)
        except NotCounted as error:
            reason = f"{call.spec.name}: {error}"
            verdict = Verdict(
                action=Action.BLOCK, rail=RAIL, stage=checked.stage, reason=reason, labels=[LABEL, "not_counted"]
            )
            return Judgement((verdict,))
        shares = [share.with_used(one) for share, one in zip(shares, used, strict=True)]
        problems: list[Problem] = [
            (Action(rule.action), LABEL, _reason(rule, share, _is_own(document, rule, context)))
            for (_, rule), share in zip(applying, shares, strict=True)
            if share.exceeds
        ]
        judgement = judgement_of(RAIL, checked, problems)
        asking = [rule.approval for (_, rule), share in zip(applying, shares, strict=True) if share.exceeds]
        return Judgement(judgement.verdicts, shares=tuple(shares), approval=strictest(asking))

    return check


async def _owners(document: PolicyDocument, rules: Sequence[LimitRule], checked: Checked) -> dict[str, Value]:
    names = {key.removesuffix(OWNER) for rule in rules for key in rule.per if key.endswith(OWNER)}
    assert document.subject is not None or not names  # the document checks it
    bindings = document.subject.arguments if document.subject is not None else {}
    return {name: await owner_of(name, bindings[name], call_of(checked), checked.context) for name in sorted(names)}


def _is_own(document: PolicyDocument, rule: LimitRule, context: GuardContext) -> bool:
    """Whether the sum is about the run's own subject or session, so that its figures tell nothing about others.

    Without subjects, there are no others: neither the policy nor the run tells users apart.
    """
    if SESSION in rule.keys:
        return True
    if context.subject is None:
        return document.subject is None
    bound = document.subject.arguments if document.subject is not None else {}
    return SUBJECT in rule.keys or any(
        name in bound and all(map(bound[name].applies_to, rule.tools)) for name in rule.arguments
    )


def _reason(rule: LimitRule, share: LimitShare, own: bool) -> str:
    tools = " and ".join(rule.tools)
    what = f"the number of calls of {tools}" if rule.sum is None else f"the sum of {rule.sum} of {tools}"
    per = "".join(f" per {key}" for key in rule.keys)
    window = f" within {rule.window}" if rule.seconds is not None else ""
    told = f"{what}{per}{window} is limited to {plain(share.maximum)}"
    if share.unclear:
        told += f", and this call can't be counted: {share.unclear}"
    elif own:
        told += f": {plain(share.used)} used, {plain(share.left)} left, and this call adds {plain(share.amount)}"
    else:
        told += f", and less is left than the {plain(share.amount)} that this call adds"
    return f"{rule.reason}: {told}" if rule.reason else told
