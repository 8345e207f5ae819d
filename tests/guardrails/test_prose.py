"""Ordinary prose is released as it comes: a finder holds only last words that may begin an address ("write a")."""

from __future__ import annotations

import pytest

from guardrails.finders.bare_hosts import HOSTS
from guardrails.finders.contacts import CONTACTS
from guardrails.finders.pattern import Finder
from guardrails.finders.pii import PATTERNS, pii_finder
from guardrails.finders.secrets import secrets_finder

PROSE = (
    'I can write a very long story about a ship that crosses all the oceans.", "It is a model of a serial part, '
    "ready for all members; the customers also get an article on several lots, and a reference to their contracts. "
    "Die Bestellung ist da, alle Kunden haben einen Beleg, und die Rechnung folgt en route."
)


@pytest.mark.parametrize("finder", [CONTACTS, HOSTS, pii_finder(tuple(PATTERNS)), secrets_finder()])
def test_at_most_the_last_words_are_held(finder: Finder) -> None:
    for end in range(1, len(PROSE)):
        held = PROSE[finder.live(PROSE[:end]) : end]
        assert len(held.split()) <= 3, held
