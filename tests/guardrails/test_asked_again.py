"""A repeated write counts as asked for only if the user's words can mean no other call."""

from __future__ import annotations

from typing import Any

import pytest

from flightloop.tool import tool, tool_of
from guardrails.evidence.asked_again import asks_for
from guardrails.types import CheckedCall


@tool(effect="keyed")
def refund_bill(bill: int, amount: float) -> str:
    """Refunds a bill."""
    return ""


@tool(effect="keyed")
def transfer(amount: float, to: str) -> str:
    """Transfers money to an account."""
    return ""


@tool(effect="keyed")
def book_visit(patient: str, day: str) -> str:
    """Books a visit."""
    return ""


@tool(effect="keyed")
def renew_loan(loan: int) -> str:
    """Renews a loan."""
    return ""


@tool(effect="keyed")
def pay(to: str) -> str:
    """Pays a bill."""
    return ""


CALLS = {
    "refund": (refund_bill, {"bill": 1, "amount": 50.0}),
    "transfer": (transfer, {"amount": 50, "to": "acctann"}),
    "book": (book_visit, {"patient": "Ann", "day": "2026-12-01"}),
    "renew": (renew_loan, {"loan": 17}),
    "pay": (pay, {"to": "Ada"}),
}


def asked(name: str, words: str) -> bool:
    made, arguments = CALLS[name]
    call: Any = CheckedCall("c1", tool_of(made).spec, arguments)
    return asks_for(words, call)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refund", "Please refund bill 1."),
        ("refund", "Please refund 50 EUR of bill 1"),
        ("refund", "Refund it, please"),
        ("refund", "Please refund bill 1 again"),
        ("refund", "Do it again"),
        ("refund", "Refund bill 2. And refund bill 1."),
        ("transfer", "Transfer €50 to acctann"),
        ("transfer", "Can you transfer 50.00 to AcctAnn once more?"),
        ("book", "Book a visit for Ann on 2026-12-01"),
        ("book", "Please book the same visit another time"),
        ("renew", "Renew it once more"),
        ("renew", "Renew Solaris again"),
        ("renew", "I'd like another renewal"),
        ("pay", "Pay Ada again, please"),
        ("pay", "pay ada"),
    ],
)
def test_what_can_mean_no_other_call_is_asked_for(name: str, words: str) -> None:
    assert asked(name, words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refund", "Please refund bill 2."),
        ("refund", "Please refund bill 2, bill 1 has been refunded already."),
        ("refund", "Great. Now refund only bill 2."),
        ("refund", "Can you refund bill 7?"),
        ("refund", "Refund 20 EUR of bill 1"),
        ("refund", "Refund bill 2 again"),
        ("refund", "What is the weather?"),
        ("transfer", "Please transfer 20 to acctbob."),
        ("transfer", "Please transfer 50 to acctbob."),
        ("transfer", "transfer 50 to acctbob again"),
        ("book", "Please book a visit for Bob on 2026-12-02."),
        ("book", "please book a visit for bob"),
        ("book", "Book a visit for Ann on 2026-12-02"),
        ("book", "Book another visit for Ann on December 2nd"),
        ("renew", "Renew loan 18"),
        ("renew", "Renew Dune"),
        ("renew", "Renew loan 18 again"),
        ("pay", "Pay Bob"),
        ("pay", "pay bob again"),
    ],
)
def test_what_names_something_else_is_not(name: str, words: str) -> None:
    assert not asked(name, words)
