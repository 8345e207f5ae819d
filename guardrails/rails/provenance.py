"""Rail ``provenance`` of stage tool_call: where the values of a call come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flightloop.provenance import Origin, Source
from flightloop.verdicts import Action
from guardrails.aside import aside
from guardrails.evidence.acts import changes_something
from guardrails.evidence.identifying import MOST_LEAVES, Leaf, leaves
from guardrails.evidence.provenance import Tracer
from guardrails.policy_document import PolicyDocument
from guardrails.rails.calls import call_of, characters_of, judgement_of
from guardrails.types import Checked, CheckedCall, GuardContext, Judgement, Rail

RAIL = "provenance"
TRUSTED = (Origin.USER, Origin.RECORD)
"""Origins that the identifiers and amounts of a write may have."""
SAID_OR_READ = (*TRUSTED, Origin.RESULT)
"""Origins that a listed day of the week may have."""


def provenance_rail(document: PolicyDocument) -> Rail:
    """Checks that identifiers and amounts of a write come from the user or a trusted record, and the rules with
    ``from``."""

    async def check(checked: Checked) -> Judgement:
        call = call_of(checked)
        found = leaves(call.spec, call.arguments)
        bound = [(leaf, rule) for leaf in found if (rule := _rule(document, call, leaf)) is not None]
        if not bound:
            return judgement_of(RAIL, checked, [])
        broken = await aside(characters(checked), lambda: list(_broken(checked.context, call.call_id, bound)))
        problems = [(action, RAIL, source.text) for action, source, _ in broken]
        if len(found) > MOST_LEAVES and _is_watched(document, call):
            why = f"the call has more than {MOST_LEAVES} values, too many to trace"
            problems.append((document.tools.provenance, RAIL, why))
        guessed = dict.fromkeys(source.argument for _, source, is_guess in broken if is_guess)
        return replace(judgement_of(RAIL, checked, problems), guessed=tuple(guessed))

    return check


async def sources_of(context: GuardContext, call: CheckedCall) -> list[Source]:
    """The sources of a call's values, for a person to see."""
    found = leaves(call.spec, call.arguments)[:MOST_LEAVES]
    length = context.characters + (context.trail.characters if context.trail else 0)
    return await aside(length, lambda: [Tracer(context, call.call_id).source(leaf) for leaf in found])


def characters(checked: Checked) -> int:
    """Characters to search."""
    trail = checked.context.trail
    return characters_of(checked, evidence=True) + (trail.characters if trail else 0)


Bound = tuple[tuple[Origin, ...], Action]
"""Origins that a value may have, and the action on others."""


def _rule(document: PolicyDocument, call: CheckedCall, leaf: Leaf) -> Bound | None:
    """The rule for a value: the argument's own, or that for writes; None if there is none."""
    own = document.tools.arguments.get(call.spec.name, {}).get(leaf.argument)
    if own is not None and own.origins is not None:
        return own.origins, own.otherwise
    if leaf.identifying and (leaf.moment or not leaf.chosen) and _is_watched(document, call):
        # Which of the listed days or times is no matter of wording, as a listed reason is; but a result may name it.
        return SAID_OR_READ if leaf.chosen else TRUSTED, document.tools.provenance
    return None


def _is_watched(document: PolicyDocument, call: CheckedCall) -> bool:
    """Whether the default rule applies. A sub-agent's own calls are checked, not the task that it is given."""
    if document.tools.provenance is Action.ALLOW or call.spec.name in document.tools.harmless:
        return False
    return changes_something(call.spec) and call.spec.agent is None


def _broken(
    context: GuardContext, call_id: str, bound: list[tuple[Leaf, Bound]]
) -> Iterator[tuple[Action, Source, bool]]:
    """Values that break their rule: its action, the source, and whether the model has just made the value up."""
    tracer = Tracer(context, call_id)
    for leaf, (origins, action) in bound:
        source = tracer.source(leaf)
        if source.origin not in origins:
            yield action, source, source.origin is Origin.INVENTED and tracer.is_guess(leaf)
