"""Contacts that an answer or a call may name: the single place where they are collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest

from flightloop.egress import plain_host
from guardrails.egress_document import Egress
from guardrails.finders.contacts import CONTACTS, plain_email
from guardrails.finders.phones import NO_PHONES, Phones, bare_numbers, digit_runs, digits_of
from guardrails.finders.placeholders import is_nobody
from guardrails.types import GuardContext

Numbers = Callable[[str], Iterator[str]]
"""Phone numbers that a text may hold, whatever else they may be."""


@dataclass(frozen=True)
class Contacts:
    """E-mail addresses, as ``plain_email`` returns them, and phone numbers."""

    emails: frozenset[str] = frozenset()
    phones: Phones = NO_PHONES

    @classmethod
    def of(cls, text: str, *more: Numbers) -> Contacts:
        """The contacts that are found in a text, and more numbers of it."""
        found = [(one.label, text[one.start : one.end]) for one in CONTACTS.find(text)]
        emails = frozenset(plain_email(form) for label, form in found if label == "email")
        phones = (digits_of(form) for label, form in found if label == "phone")
        return cls(emails, Phones(frozenset(chain(phones, *(numbers(text) for numbers in more)))))

    def __or__(self, other: Contacts) -> Contacts:
        return Contacts(self.emails | other.emails, self.phones | other.phones)

    def __sub__(self, other: Contacts) -> Contacts:
        return Contacts(self.emails - other.emails, self.phones - other.phones)

    def know(self, label: str, form: str) -> bool:
        """Whether a found contact is among these. A ``*@domain`` stands for all addresses of the domain."""
        if label not in ("email", "phone"):
            return False
        if label == "email":
            email = plain_email(form)
            if is_nobody(email) and form.casefold().endswith(email):  # nothing follows that a mail program would send
                return True
            return email in self.emails or f"*@{email.rpartition('@')[2]}" in self.emails
        return digits_of(form) in self.phones


def known_contacts(context: GuardContext, egress: Egress, *, results: bool | None = None) -> Contacts:
    """Contacts that the policy's sources vouch for, cached for the run's texts.

    Only what is found as a phone number vouches for one, since dates and references have digits as well. In the
    user's words and in trusted results, so does a long number in one piece, as records often keep phones.
    A trusted result may repeat what the model wrote before it, so it does not vouch for that.

    Args:
        results: whether all results vouch; None: as the policy says, unless the run is tainted.
    """
    if results is None:
        results = "results" in egress.contacts_from and not context.tainted
    key = (Contacts, egress.contacts_from, egress.own_contacts, context.user_text, len(context.results), results)
    found = context.memo.get(key)
    if not isinstance(found, Contacts):
        found = Contacts()
        for contacts in _vouching(context, egress, results):
            found |= contacts
        context.memo[key] = found
    return found


def answered_contacts(context: GuardContext) -> Contacts:
    """Contacts that earlier answers of the session told the user. They vouch for answers only: to tell the user again
    reveals nothing, but a call could send data to a contact that an untrusted result had planted."""
    found = Contacts()
    for answer in context.answered:
        found |= _kept(context, answer)
    return found


def _own_email(entry: str) -> str:
    local, _, domain = entry.rpartition("@")
    return f"{local}@{plain_host(domain)}".casefold()


def _vouching(context: GuardContext, egress: Egress, results: bool) -> Iterator[Contacts]:
    own = [one.strip() for one in egress.own_contacts]
    emails = frozenset(map(_own_email, (one for one in own if "@" in one)))
    yield Contacts(emails, Phones(frozenset(digits_of(one) for one in own if "@" not in one)))
    if context.subject is not None:
        yield Contacts.of("\n".join(map(str, (context.subject.id, *context.subject.claims.values()))), bare_numbers)
    if "user" in egress.contacts_from:
        yield _kept(context, context.user_text, bare_numbers)
    if "trusted" in egress.contacts_from:
        written = [_kept(context, text, bare_numbers, digit_runs) for text in context.written]
        pairs = zip_longest(context.trusted_results, context.written_before, fillvalue=len(written))
        for text, before in pairs:
            if isinstance(text, str) and isinstance(before, int):
                yield _without(_kept(context, text, bare_numbers), written[:before])
    if results:
        yield from (_kept(context, text) for text in context.results)


def _without(contacts: Contacts, written: list[Contacts]) -> Contacts:
    for before in written:
        contacts -= before
    return contacts


def _kept(context: GuardContext, text: str, *more: Numbers) -> Contacts:
    found = context.memo.get((Contacts, text, more))
    if not isinstance(found, Contacts):
        context.memo[Contacts, text, more] = found = Contacts.of(text, *more)
    return found
