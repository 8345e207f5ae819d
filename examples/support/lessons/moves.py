"""Parts of solutions: each handles one customer request, from the tool call to the text about its outcome.

Each part returns the text to say. After a failed call, it makes a new plan if the agent's loop uses plans.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

from flightloop.lessons import Call, NoCase, Outcome, Plan, Saying, Step

from .desk import Desk
from .phrases import Fact, Untold

REASONS = (
    ("refund processing", r"has not shipped\. Cancel it"),
    ("refund on its way", r"is on its way\. It can be refunded"),
    ("refund late", r"was delivered (?P<days>\d+) days ago"),
    ("refund final", r"final-sale items"),
    ("refund full", r"refunded in full already"),
    ("refund most", r"at most (?P<most>[\d.]+ EUR)"),
    ("denied", r"a person denied it: (?P<why>.+)"),
    ("cancel shipped", r"can't be cancelled. It has shipped"),
    ("cancel delivered", r"can't be cancelled. It was delivered on (?P<day>[\d-]+)"),
    ("cancel cancelled", r"can't be cancelled. It is cancelled"),
    ("move shipped", r"another address. It has shipped"),
    ("move delivered", r"another address. It was delivered on (?P<day>[\d-]+)"),
    ("move cancelled", r"another address. It is cancelled"),
    ("address incomplete", r"address is incomplete|address must be"),
    ("unknown", r"There is no order"),
    ("customer", r"No customer matches"),
)
"""Name of the answer that explains a refusal, and the pattern of the tool's message."""
DOCUMENTS = Path(__file__).parent.parent / "documents"
NEEDS_A_PERSON = re.compile(r"need a person")


class Unfound(NoCase):
    """The tools did not return what the case needs."""


def refused(desk: Desk, outcome: Outcome, **slots: Any) -> Saying:
    """Explains why a tool refused. Raises Unfound if no answer explains its message."""
    for name, pattern in REASONS:
        if found := re.search(pattern, outcome.value):
            yield Plan(desk.goal("offer_cancel" if name == "refund processing" else "tell_why"))
            return desk.say(
                "refused", name, **slots, **{key: text.rstrip(".") for key, text in found.groupdict().items()}
            )
    raise Unfound(outcome.value)


def track(desk: Desk, number: int, kind: str) -> Saying:
    outcome = yield Call("delivery_status", {"order_id": number})
    if not outcome.ok:
        return (yield from refused(desk, outcome, number=number))
    parcel = outcome.value
    if parcel.get("delivery") == "none":
        state = "cancelled" if "cancelled" in parcel["why"] else "not shipped"
        return desk.say("delivery", state, **parcel)
    if kind in ("tracking", "carrier") and parcel["status"] != "lost":
        return desk.say(kind, **parcel)
    return desk.say("delivery", parcel["status"], **parcel)


def show(desk: Desk, number: int, kind: str) -> Saying:
    outcome = yield Call("get_order", {"order_id": number})
    if not outcome.ok:
        return (yield from refused(desk, outcome, number=number))
    return told(desk, outcome.value, kind)


def told_orders(desk: Desk, orders: list[dict[str, Any]]) -> str:
    """A customer's orders as text for the middle of a sentence."""
    shown = [{**one, "items": desk.between.join(one["items"]), "status": desk.named(one["status"])} for one in orders]
    return desk.joined([desk.say("one_order", **one) for one in shown])


def told(desk: Desk, order: dict[str, Any], kind: str) -> str:
    """The detail of an order that the customer asked about, as text."""
    state = desk.say("state", order["status"], **order)
    slots = {**order, "state": state, "items": desk.joined(order["items"]), "status": desk.named(order["status"])}
    if kind == "refunded" and order["refunded"].startswith("0.00"):
        return desk.say("not_refunded", **slots)
    if kind == "payment":
        slots["payment"] = desk.named(order["payment"]).replace("paypal", "PayPal")
    return desk.say(kind, **slots)


def cancel(desk: Desk, number: int) -> Saying:
    outcome = yield Call("cancel_order", {"order_id": number})
    if not outcome.ok:
        return (yield from refused(desk, outcome, number=number))
    return desk.say("cancelled", **_paid(desk, outcome.value))


def move(desk: Desk, number: int, address: str) -> Saying:
    outcome = yield Call("change_address", {"order_id": number, "address": address})
    if not outcome.ok:
        return (yield from refused(desk, outcome, number=number))
    return desk.say("moved", **outcome.value)


def refund(desk: Desk, number: int, reason: str, amount: str | None = None, *, look: bool = True) -> Saying:
    """Refunds ``amount`` or, without it, the whole order. With ``look``, reads the order's total before the latter, so
    that the policy needs no person for a small one. Hands refunds above the shop's limit over to a person."""
    if amount is None and look:
        outcome = yield Call("get_order", {"order_id": number})
        if not outcome.ok:
            return (yield from refused(desk, outcome, number=number))
    arguments: dict[str, Any] = {"order_id": number, "reason": reason}
    if amount is not None:
        arguments["amount"] = float(amount) if float(amount) % 1 else int(float(amount))
    outcome = yield Call("refund_order", arguments)
    if outcome.ok:
        return desk.say("refunded_now", **_paid(desk, outcome.value))
    if NEEDS_A_PERSON.search(outcome.value):
        yield Plan(desk.goal("hand_over_order", number=number), ("hand_over",))
        yield Call("hand_over", {"reason": "refund above the limit", "order_id": number})
        return desk.say("handed_over_refund", number=number)
    return (yield from refused(desk, outcome, number=number))


def hand_over(desk: Desk, reason: str, number: int | None = None, words: str = "handed_over") -> Saying:
    arguments = {"reason": reason} if number is None else {"reason": reason, "order_id": number}
    outcome = yield Call("hand_over", arguments)
    if not outcome.ok:
        return (yield from refused(desk, outcome, number=number))
    return desk.say(words, number=number)


def look_up(desk: Desk, fact: Fact, **slots: Any) -> Saying:
    """States a rule from the document that the search finds. Raises Unfound if the search doesn't find it."""
    outcome = yield Call("search_knowledge", {"query": fact.query})
    shown = tuple(f"{heading}:" for heading in _headings()[fact.passage])
    if not outcome.ok or not any(found["text"].startswith(shown) for found in outcome.value):
        raise Unfound(f"the knowledge search for {fact.query!r} did not return {fact.passage!r}")
    if desk.language not in fact.answers:
        raise Untold(f"no answer about {fact.passage!r} in {desk.language}")
    if fact.slots == "points":
        worth = yield Call("calculator", {"expression": f"{slots['points']} / 100 * 5"})
        return fact.answers[desk.language].format(**slots, euros=f"{worth.value:g}")
    return fact.answers[desk.language].format(**slots)


@cache
def _headings() -> dict[str, tuple[str, ...]]:
    """By the heading of a passage, itself and those of its translations."""
    found: dict[str, tuple[str, ...]] = {}
    for original in DOCUMENTS.glob("*.md"):
        if "." not in original.stem:
            files = [original, *DOCUMENTS.glob(f"{original.stem}.*.md")]
            headings = [re.findall(r"^## (.+)$", file.read_text("utf-8"), re.MULTILINE) for file in files]
            found |= {same[0]: same for same in zip(*headings, strict=True)}
    return found


def find_orders(desk: Desk, query: str) -> Generator[Step, Outcome, list[dict[str, Any]] | str]:
    """A customer's orders, latest first; if the customer is unknown, a text that says so."""
    found = yield Call("find_customer", {"query": query})
    if not found.ok:
        return (yield from refused(desk, found, query=query))
    listed = yield Call("list_orders", {"customer_id": found.value[0]["customer_id"]})
    orders: list[dict[str, Any]] = listed.value
    return orders


def _paid(desk: Desk, result: dict[str, Any]) -> dict[str, Any]:
    """A tool result with the payment method (``to``) as text in the customer's language."""
    return {**result, "to": desk.say("to", result["to"])}
