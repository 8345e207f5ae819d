"""Long texts and lists with numbers that may be phone numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guardrails.finders.contacts import CONTACTS
from guardrails.finders.phones import Phones, bare_numbers, digit_runs
from tests.security.test_long_texts import assert_linear


def phones(many: int) -> Phones:
    return Phones(frozenset(f"+49{number}5550100" for number in range(many)))


WORK: dict[str, Callable[[int], Any]] = {
    "numbers that a user wrote": lambda n: [*digit_runs("1 " * n)],
    "one long number": lambda n: [*digit_runs("1" * n), *bare_numbers("1" * n)],
    "numbers in one piece": lambda n: [*bare_numbers("123456789 " * (n // 10))],
    "groups behind a plus": lambda n: CONTACTS.find("+1" + " 1" * n),
    "pluses and groups": lambda n: CONTACTS.find("+1 2345678901234567 " * (n // 20)),
    "numbers that end alike, without the same": lambda n: phones(n) - phones(n),
}


@pytest.mark.parametrize("name", WORK)
def test_four_times_the_numbers_take_no_sixteen_times_as_long(name: str) -> None:
    assert_linear(WORK[name])
