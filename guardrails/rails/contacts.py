"""Keeps e-mail addresses and phone numbers that nobody vouches for from leaving in answers and arguments."""

from __future__ import annotations

from collections.abc import Callable

from flightloop.verdicts import Action
from guardrails.aside import aside
from guardrails.egress_document import Egress
from guardrails.evidence.contacts import Contacts, answered_contacts, known_contacts
from guardrails.finders.contacts import CONTACTS
from guardrails.finders.pattern import Finding
from guardrails.rails.calls import Problem, call_of, characters_of, judgement_of, stays_here
from guardrails.rails.detector import Detector, found_in
from guardrails.types import Checked, CheckedCall, GuardContext, Judgement, Rail

RAIL = "contacts"


def contacts_detector(egress: Egress) -> Detector | None:
    """The detector of unknown contacts in answers; None if the policy allows them. An answer can't wait for a person,
    so ``ask`` withholds it."""
    if egress.contacts is Action.ALLOW:
        return None
    action = Action.BLOCK if egress.contacts is Action.ASK else egress.contacts
    return Detector(RAIL, CONTACTS, action, lambda context: _unknown(context, egress))


def _unknown(context: GuardContext, egress: Egress) -> Callable[[str, list[Finding]], list[Finding]]:
    def drop(text: str, findings: list[Finding]) -> list[Finding]:
        known = known_contacts(context, egress)
        if not {"trusted", "results"}.isdisjoint(egress.contacts_from):
            known |= answered_contacts(context)
        return [one for one in findings if not known.know(one.label, text[one.start : one.end])]

    return drop


def contacts_rail(egress: Egress) -> Rail:
    """Checks the contacts in a call's arguments. A call isn't redacted, so it waits for a person instead.

    Results that aren't trusted vouch only for arguments that can't leave, whatever the policy says about answers.
    """
    action = Action.ASK if egress.contacts is Action.REDACT else egress.contacts

    async def check(checked: Checked) -> Judgement:
        call = call_of(checked)
        problems: list[Problem] = []
        if action is not Action.ALLOW and call.spec.agent is None:
            unknown = await aside(characters_of(checked, evidence=True), _unknown_in, call, checked.context, egress)
            why = "which neither the user nor a trusted result has told"
            problems = [(action, "contact", f"an argument holds the {kind} {form}, {why}") for kind, form in unknown]
        return judgement_of(RAIL, checked, problems)

    return check


def _unknown_in(call: CheckedCall, context: GuardContext, egress: Egress) -> list[tuple[str, str]]:
    """Kind and text of the unknown contacts in a call."""
    found = [(one.label, text[one.start : one.end]) for text, one in found_in(CONTACTS, call.arguments)]
    known = known_contacts(context, egress, results=stays_here(call.spec)) if found else Contacts()
    return [(label, form) for label, form in dict.fromkeys(found) if not known.know(label, form)]
