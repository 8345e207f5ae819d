"""Rail ``placeholders``: personal data reaches only the arguments that the policy names."""

from __future__ import annotations

from collections.abc import Sequence

from flightloop.tool import ToolSpec
from flightloop.verdicts import Action, Verdict
from guardrails.aside import aside
from guardrails.placeholder_policy import PlaceholderPolicy
from guardrails.placeholders.marks import LITERAL
from guardrails.placeholders.register import Register
from guardrails.text.scalars import scalar_texts
from guardrails.types import Checked, GuardContext, Judgement, Rail

RAIL = "placeholders"
UNFILLED = "a placeholder that is not filled in here: leave it out, or copy it as it is written where it is allowed"


def placeholders_rail(policy: PlaceholderPolicy) -> Rail:
    """Blocks a call with personal data in an argument that the policy does not name, and one with a placeholder that
    was not filled in."""

    async def check(checked: Checked) -> Judgement:
        call, context = checked.call, checked.context
        if call is None:
            return Judgement()
        texts = [(name, text) for name, value in call.arguments.items() for text in scalar_texts({name: value})]
        register = context.register
        if register is None:
            register = await aside(context.characters, _read, policy, context)
        told = await aside(sum(len(text) for _, text in texts), _problems, policy, call.spec, texts, register)
        action = Action.BLOCK if told else Action.ALLOW
        return Judgement((Verdict(action=action, rail=RAIL, stage=checked.stage, reason="; ".join(told)),))

    return check


def _problems(
    policy: PlaceholderPolicy, spec: ToolSpec, texts: Sequence[tuple[str, str]], register: Register
) -> list[str]:
    """Problems of the texts in a call's arguments."""
    found: dict[str, None] = {}
    for name, text in texts:
        kinds = register.found(text)
        if LITERAL in kinds:
            found[f"{name} has {UNFILLED}"] = None
        elif kinds and spec.agent is None and not policy.permits(spec.name, name):
            told = ", ".join(kinds)
            found[f"{name} has personal data ({told}), which {spec.name} does not get: leave it out"] = None
    return list(found)


def _read(policy: PlaceholderPolicy, context: GuardContext) -> Register:
    """A register of what is known outside a session, as in a policy's cases."""
    register = Register(policy)
    register.read([context.user_text, *context.results])
    return register
