"""Cases about refunds: damaged, wrong, lost and unwanted goods."""

from __future__ import annotations

from functools import partial

from flightloop.lessons import Case, Solution, Turn, planned, reply

from .desk import Desk, Order
from .moves import cancel, hand_over, refund, track
from .orders import ALONE, asked_back, found_by, two_numbers
from .phrases import ENGLISH

FRESH = """(o.status = 'delivered'
  AND o.delivered_on >= date((SELECT value FROM settings WHERE name = 'today'), '-30 days')
  AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.order_id = o.id)
  AND NOT EXISTS (SELECT 1 FROM order_items y JOIN products q ON q.id = y.product_id
                  WHERE y.order_id = o.id AND q.final_sale = 1))"""
"""Orders that can be refunded."""
SMALL, LARGE = "o.total_cents <= 20000", "o.total_cents > 20000"
STATES = (
    (0.60, f"{FRESH} AND {SMALL}"),
    (0.08, f"{FRESH} AND {LARGE}"),
    (0.15, f"o.status = 'delivered' AND NOT {FRESH}"),
    (0.09, "o.status IN ('processing', 'shipped')"),
    (0.03, "o.status = 'cancelled'"),
)
"""Shares and conditions of the orders to refund. In the remaining cases, the order doesn't exist."""
LOOK = ("get_order", "refund_order")
REASON_OF = {
    "refund_damaged": "arrived damaged",
    "refund_wrong_item": "wrong item",
    "refund_unwanted": "changed my mind",
}


def damaged(desk: Desk) -> Case:
    return _whole(desk, "refund_damaged", "number")


def unwanted(desk: Desk) -> Case:
    if desk.language == ENGLISH and desk.chance(0.1):
        wish = partial(refund, desk, reason=REASON_OF["refund_unwanted"])
        return two_numbers(desk, "refund_unwanted", "refund", LOOK, wish, where=f"{FRESH} AND {SMALL}")
    return _whole(desk, "refund_unwanted", "number")


def wrong_refund(desk: Desk) -> Case:
    return _whole(desk, "refund_wrong_item", "refund")


def rest(desk: Desk) -> Case:
    """Refund of the rest of an order after an earlier partial refund."""
    order = desk.order(f"{FRESH} AND {SMALL} AND o.total_cents > 2000")
    cents = desk.random.randrange(100, order.cents - 100, 50)
    desk.change(
        """INSERT INTO refunds (order_id, amount_cents, reason, created_on)
           SELECT id, ?, 'late delivery', delivered_on FROM orders WHERE id = ?""",
        cents,
        order.number,
    )
    said = desk.ask("refund_unwanted", "rest", order.slots)
    return Case("refund_unwanted", (Turn(said, _paying(desk, order, REASON_OF["refund_unwanted"])),))


def part(desk: Desk) -> Case:
    """Refund of a named amount: mostly a valid one, otherwise more than was paid or than the shop's limit."""
    intent = desk.random.choice(("refund_damaged", "refund_unwanted"))
    large = desk.chance(0.15)
    order = desk.order(f"{FRESH} AND {LARGE if large else SMALL}")
    most = order.cents // 100
    if large:
        amount = f"{order.cents / 100:.2f}"
    elif desk.chance(0.1):
        amount = str(most + desk.random.randint(20, 500))
    else:
        euros, cents = desk.random.randint(1, max(1, most - 1)), desk.random.choice(("", "", ".50", ".90", ".95"))
        amount = f"{euros}{cents}"
    said = desk.ask(intent, "amount", {**order.slots, "amount": amount})
    goal = desk.goal("refund_amount", amount=amount, number=order.number)
    saying = refund(desk, order.number, REASON_OF[intent], amount)
    return Case(intent, (Turn(said, planned(goal, ("refund_order",), saying)),))


def damaged_replace(desk: Desk) -> Case:
    order = desk.order("o.status = 'delivered'")
    return Case("refund_damaged", (Turn(desk.ask("refund_damaged", "replace", order.slots), _new_item(desk, order)),))


def damaged_open(desk: Desk) -> Case:
    """A damaged item. The customer doesn't say whether to refund or to replace it."""
    order = desk.order(f"{FRESH} AND {SMALL}")
    said = desk.ask("refund_damaged", "open", order.slots)
    question = Turn(said, reply(desk.say("ask_refund_or_new"), desk.goal("ask_wish")))
    if desk.chance(0.5):
        return Case("refund_damaged", (question, Turn(desk.ask("replies", "replace", {}), _new_item(desk, order))))
    answer = desk.ask("replies", "refund", {})
    return Case("refund_damaged", (question, Turn(answer, _paying(desk, order, REASON_OF["refund_damaged"]))))


def wrong(desk: Desk) -> Case:
    kind = desk.random.choice(("wrong", "missing"))
    order = desk.order("o.status = 'delivered'")
    said = desk.ask("refund_wrong_item", kind, order.slots)
    return Case("refund_wrong_item", (Turn(said, _handing(desk, order, f"item {kind}")),))


def lost(desk: Desk) -> Case:
    order = desk.order("o.status = 'shipped'")
    if desk.chance(0.75):
        _lose(desk, order)
    said = desk.ask("refund_lost", "lost", order.slots)
    return Case("refund_lost", (Turn(said, _paying(desk, order, "lost parcel")),))


def lost_found_out(desk: Desk) -> Case:
    """The customer asks where the parcel is, learns that it is lost, and accepts a refund."""
    order = desk.order(f"o.status = 'shipped' AND {SMALL}")
    _lose(desk, order)
    said = desk.ask("track_order", "where", order.slots)
    goal = desk.goal("track", number=order.number)
    first = Turn(said, planned(goal, ("delivery_status",), track(desk, order.number, "where")))
    second = Turn(desk.ask("replies", "yes", {}), _paying(desk, order, "lost parcel"), "refund_lost")
    return Case("track_order", (first, second))


def by_email(desk: Desk) -> Case:
    order = desk.order(f"{FRESH} AND {SMALL} AND {ALONE}")
    wish = partial(refund, desk, reason=REASON_OF["refund_unwanted"], look=False)
    return found_by(desk, "refund_unwanted", "by_email", order, "refund_item", "refund_order", wish)


def vague(desk: Desk) -> Case:
    intent = desk.random.choice(("refund_damaged", "refund_unwanted", "refund_unwanted"))
    order = desk.order(f"{FRESH} AND {SMALL} AND {ALONE}")
    wish = partial(refund, desk, reason=REASON_OF[intent])
    return asked_back(desk, intent, order, "refund", LOOK, wish, partial(wish, look=False))


def _whole(desk: Desk, intent: str, kind: str) -> Case:
    """Refund of a whole order, mostly one that can be refunded."""
    order = _wanted(desk)
    said = desk.ask(intent, kind, order.slots)
    turns = [Turn(said, _paying(desk, order, REASON_OF[intent]))]
    if desk.language == ENGLISH and _not_shipped(desk, order):
        turns.append(_then_cancel(desk, order))
    denied = desk.one_of("denials") if desk.language == ENGLISH and desk.chance(0.07) else None
    return Case(intent, tuple(turns), denied)


def _wanted(desk: Desk) -> Order:
    chance = desk.random.random()
    for share, where in STATES:
        chance -= share
        if chance < 0:
            return desk.order(where)
    return desk.unknown()


def _not_shipped(desk: Desk, order: Order) -> bool:
    with desk.shop() as shop:
        found = shop.execute("SELECT 1 FROM orders WHERE id = ? AND status = 'processing'", (order.number,))
        return found.fetchone() is not None


def _then_cancel(desk: Desk, order: Order) -> Turn:
    """The customer's reply to the offer to cancel an order that has not shipped."""
    if desk.chance(0.2):
        return Turn(desk.ask("replies", "no", {}), reply(desk.say("fine"), desk.goal("fine")), "small_talk")
    solution = planned(desk.goal("cancel", number=order.number), ("cancel_order",), cancel(desk, order.number))
    return Turn(desk.ask("replies", "yes", {}), solution, "cancel_order")


def _paying(desk: Desk, order: Order, reason: str) -> Solution:
    return planned(desk.goal("refund", number=order.number), LOOK, refund(desk, order.number, reason))


def _new_item(desk: Desk, order: Order) -> Solution:
    return _handing(desk, order, "wants a replacement")


def _handing(desk: Desk, order: Order, reason: str) -> Solution:
    goal = desk.goal("hand_over_order", number=order.number)
    return planned(goal, ("hand_over",), hand_over(desk, reason, order.number, "handed_over_item"))


def _lose(desk: Desk, order: Order) -> None:
    desk.change("UPDATE deliveries SET status = 'lost', place = 'unknown' WHERE order_id = ?", order.number)
