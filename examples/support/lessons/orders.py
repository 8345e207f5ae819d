"""Cases about an order: tracking it, its details, cancelling it, changing its address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from flightloop.lessons import Case, Plan, Say, Saying, Solution, Turn, planned, reply

from .desk import Desk, Order
from .moves import cancel, find_orders, move, show, told_orders, track
from .phrases import ENGLISH

SENT = "o.status = 'shipped'"
OPEN = "o.status = 'processing'"
FEW = "(SELECT COUNT(*) FROM orders x WHERE x.customer_id = o.customer_id) <= 5"
ALONE = f"""{FEW} AND (SELECT COUNT(*) FROM orders x JOIN order_items y ON y.order_id = x.id
  WHERE x.customer_id = o.customer_id AND y.product_id = i.product_id) = 1"""
"""The customer bought this product once, so the product identifies the order."""
ONE_OPEN = "(SELECT COUNT(*) FROM orders x WHERE x.customer_id = o.customer_id AND x.status = 'processing') = 1"
FINDING = ("find_customer", "list_orders")
REASONABLE = {
    "where": f"{SENT} OR (o.status = 'delivered' AND o.id % 5 = 0)",
    "when": SENT,
    "tracking": f"{SENT} AND d.status <> 'lost'",
    "carrier": f"{SENT} AND d.status <> 'lost'",
    "shipped": f"{SENT} OR {OPEN}",
    "delivered": "o.status = 'delivered'",
}
"""By kind of question: SQL condition on orders about which the question makes sense."""

Wish = Callable[[int], Saying]
"""Handles a request about an order, given its number."""


def track_order(desk: Desk) -> Case:
    kind = desk.random.choice(("where",) * 5 + ("when", "when", "tracking", "carrier", "shipped", "delivered"))
    order = desk.unknown() if desk.chance(0.06) else desk.order("1" if desk.chance(0.08) else REASONABLE[kind])
    return _one(desk, "track_order", kind, order, "track", "delivery_status", track(desk, order.number, kind))


def track_by_item(desk: Desk) -> Case:
    order = desk.order(f"{ALONE} AND o.status <> 'cancelled'")
    wish = partial(track, desk, kind="where")
    return found_by(desk, "track_order", "by_item", order, "track_item", "delivery_status", wish)


def track_vague(desk: Desk) -> Case:
    order = desk.order(f"({SENT} OR {OPEN}) AND {ALONE}")
    return asked_back(desk, "track_order", order, "track", ("delivery_status",), partial(track, desk, kind="where"))


def order_details(desk: Desk) -> Case:
    kinds = ("items",) * 4 + ("total", "address", "payment", "status", "status", "refunded")
    kind = desk.random.choice(kinds)
    order = desk.unknown() if desk.chance(0.05) else desk.order()
    if desk.chance(0.25) and kind != "refunded":
        desk.change("UPDATE orders SET note = ? WHERE id = ?", desk.one_of("injections"), order.number)
    return _one(desk, "order_details", kind, order, "show", "get_order", show(desk, order.number, kind))


def my_orders(desk: Desk) -> Case:
    order = desk.order(f"{FEW} AND c.id % 2 = 0")
    if desk.chance(0.1):
        stranger = f"{order.name.replace(' ', '')}{desk.random.randint(1, 99)}"
        order = replace(order, name=stranger, email=f"{stranger.lower()}@example.org")
    if desk.chance(0.7):
        said = desk.ask("order_details", "mine", order.slots)
        return Case("order_details", (Turn(said, overview(desk, known_as(desk, order))),))
    question = Turn(desk.ask("order_details", "mine_vague", {}), reply(desk.say("ask_email"), desk.goal("ask_email")))
    return Case("order_details", (question, Turn(order.email, overview(desk, order.email))))


def overview(desk: Desk, query: str) -> Solution:
    yield Plan(desk.goal("mine"), FINDING)
    orders = yield from find_orders(desk, query)
    yield Say(orders if isinstance(orders, str) else desk.say("mine", orders=told_orders(desk, orders)))


def cancel_order(desk: Desk) -> Case:
    if desk.language == ENGLISH and desk.chance(0.12):
        return two_numbers(desk, "cancel_order", "cancel", ("cancel_order",), partial(cancel, desk))
    order = (
        desk.unknown() if desk.chance(0.05) else desk.order(OPEN if desk.chance(0.72) else "o.status <> 'processing'")
    )
    return _one(desk, "cancel_order", "number", order, "cancel", "cancel_order", cancel(desk, order.number))


def cancel_by_email(desk: Desk) -> Case:
    order = desk.order(f"{OPEN} AND {ALONE} AND {ONE_OPEN}")
    return found_by(desk, "cancel_order", "by_email", order, "cancel_item", "cancel_order", partial(cancel, desk))


def cancel_vague(desk: Desk) -> Case:
    order = desk.order(f"{OPEN} AND {ONE_OPEN} AND {ALONE}")
    return asked_back(desk, "cancel_order", order, "cancel", ("cancel_order",), partial(cancel, desk))


def change_address(desk: Desk) -> Case:
    address = desk.address()
    chance = desk.random.random()
    if desk.language == ENGLISH and chance < 0.1:
        wish = partial(move, desk, address=address)
        return two_numbers(desk, "change_address", "move", ("change_address",), wish, {"address": address})
    order = desk.order(OPEN if desk.chance(0.78) else "o.status <> 'processing'")
    slots = {**order.slots, "address": address}
    goal = desk.goal("move", number=order.number)
    moving = planned(goal, ("change_address",), move(desk, order.number, address))
    if chance < 0.65:
        return Case("change_address", (Turn(desk.ask("change_address", "number", slots), moving),))
    kind, question, answer = desk.random.choice(
        (
            ("no_address", desk.say("ask_address", number=order.number), "address"),
            ("no_number", desk.say("ask_number_for_address"), "number"),
            ("vague", desk.say("ask_number_address"), "number_address"),
        )
    )
    said = desk.ask("change_address", kind, slots)
    asking = reply(question, desk.goal("ask_address" if kind == "no_address" else "ask_number"))
    return Case("change_address", (Turn(said, asking), Turn(desk.ask("replies", answer, slots), moving)))


def two_numbers(
    desk: Desk,
    intent: str,
    goal: str,
    tools: tuple[str, ...],
    wish: Wish,
    slots: dict[str, str] | None = None,
    where: str = OPEN,
) -> Case:
    """A request about one order that also mentions another order."""
    order, other = desk.order(where), desk.order()
    if other.number == order.number:
        other = desk.unknown()
    said = desk.ask(intent, "double", {**order.slots, **(slots or {}), "other": other.number})
    return Case(intent, (Turn(said, planned(desk.goal(goal, number=order.number), tools, wish(order.number))),))


def found_by(desk: Desk, intent: str, kind: str, order: Order, goal: str, tool: str, wish: Wish) -> Case:
    """A request that names customer and product, not a number. Sometimes the customer never bought the product."""
    item = desk.one_of("never_bought") if desk.chance(0.1) else order.item
    said = desk.ask(intent, kind, {**order.slots, "item": item})
    if item == order.item or "item" not in desk.asked:
        return Case(intent, (Turn(said, by_item(desk, order, goal, (tool,), wish)),))
    return Case(intent, (Turn(said, by_item(desk, order, goal, (tool,), None, "unknown_item", item)),))


def asked_back(
    desk: Desk, intent: str, order: Order, goal: str, tools: tuple[str, ...], wish: Wish, found: Wish | None = None
) -> Case:
    """A request that names no order, so the agent asks. The customer gives the number, the email and the item, or only
    the email, after which the agent may have to ask again. ``found``: handles a request after the orders were listed.
    """
    question = Turn(desk.ask(intent, "vague", {}), reply(desk.say("ask_number"), desk.goal("ask_number")))
    by_number = planned(desk.goal(goal, number=order.number), tools, wish(order.number))
    if desk.language != ENGLISH or desk.chance(0.55):
        return Case(intent, (question, Turn(desk.ask("replies", "number", order.slots), by_number)))
    answer = desk.ask("replies", "email", order.slots)
    if "item" in desk.asked or order.siblings == 1 or goal == "cancel":
        return Case(intent, (question, Turn(answer, by_item(desk, order, f"{goal}_item", tools[-1:], found or wish))))
    which = Turn(answer, by_item(desk, order, f"{goal}_item", tools[-1:], None, "which_order"))
    return Case(intent, (question, which, Turn(desk.ask("replies", "number", order.slots), by_number)))


def by_item(
    desk: Desk, order: Order, goal: str, tools: tuple[str, ...], wish: Wish | None, otherwise: str = "", item: str = ""
) -> Solution:
    """Finds the customer's orders by email or name, and handles the request for ``order``.

    Without ``wish``, the orders are listed in the wording ``otherwise``.
    """
    return _by_item(
        desk, order, known_as(desk, order), Plan(desk.goal(goal), (*FINDING, *tools)), wish, otherwise, item
    )


def _by_item(
    desk: Desk, order: Order, query: str, plan: Plan, wish: Wish | None, otherwise: str, item: str
) -> Solution:
    yield plan
    orders = yield from find_orders(desk, query)
    if isinstance(orders, str):
        yield Say(orders)
    elif wish is None:
        yield Say(desk.say(otherwise, item=item, orders=told_orders(desk, orders)))
    else:
        text = yield from wish(order.number)
        yield Say(text)


def known_as(desk: Desk, order: Order) -> str:
    """The customer's email if the last message contains it, otherwise the name."""
    return order.email if "email" in desk.asked else order.name


def _one(desk: Desk, intent: str, kind: str, order: Order, goal: str, tool: str, saying: Saying) -> Case:
    """A request that names its order."""
    said = desk.ask(intent, kind, order.slots)
    return Case(intent, (Turn(said, planned(desk.goal(goal, number=order.number), (tool,), saying)),))
