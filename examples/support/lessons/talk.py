"""Other cases: the shop's rules, warranty claims, requests for a person, small talk, messages out of scope."""

from __future__ import annotations

from flightloop.lessons import Case, Solution, Turn, planned, reply

from .desk import Desk
from .moves import hand_over, look_up
from .phrases import Fact

RULES_ALONE = (
    "account_privacy",
    "change_items",
    "gift_cards",
    "gift_wrap",
    "jobs",
    "payment",
    "place_order",
    "product_setup",
    "promotions",
    "recycling",
    "reviews",
    "shipping_info",
)
"""Intents that only `rule` covers."""


def rule(desk: Desk) -> Case:
    known = [fact for fact in desk.phrases.facts if desk.language in fact.asks]
    if desk.chance(0.75):  # otherwise these intents would be rare
        intent = desk.random.choice(RULES_ALONE)
        known = [fact for fact in known if fact.intent == intent]
    fact = desk.random.choice(known)
    said, solution = question(desk, fact)
    return Case(fact.intent, (Turn(said, solution),))


def question(desk: Desk, fact: Fact) -> tuple[str, Solution]:
    """A question about a rule, and its solution from the documents."""
    slots = _slots(desk, fact.slots)
    said = desk.voice.say(desk.random.choice(fact.asks[desk.language]), slots)
    tools = ("search_knowledge", "calculator") if fact.slots == "points" else ("search_knowledge",)
    return said, planned(desk.goal("rule", query=fact.query), tools, look_up(desk, fact, **slots))


def _slots(desk: Desk, kind: str) -> dict[str, object]:
    if kind == "points":
        return {"points": desk.random.randrange(100, 2000, 20)}
    return {"place": desk.one_of(kind)} if kind else {}


def warranty_claim(desk: Desk) -> Case:
    order = desk.order("o.status = 'delivered'")
    said = desk.ask("warranty", "claim", order.slots)
    saying = hand_over(desk, "warranty claim", order.number, "handed_over_warranty")
    solution = planned(desk.goal("hand_over_order", number=order.number), ("hand_over",), saying)
    return Case("warranty", (Turn(said, solution),))


def person(desk: Desk) -> Case:
    if desk.chance(0.3):
        order = desk.order()
        said = desk.ask("contact_person", "person_order", order.slots)
        goal = desk.goal("hand_over_order", number=order.number)
        saying = hand_over(desk, "asks for a person", order.number)
        return Case("contact_person", (Turn(said, planned(goal, ("hand_over",), saying)),))
    kind, reason, words = desk.random.choice(
        (("person", "asks for a person", "handed_over"), ("complaint", "complaint", "handed_over_complaint"))
    )
    solution = planned(desk.goal("hand_over"), ("hand_over",), hand_over(desk, reason, words=words))
    return Case("contact_person", (Turn(desk.ask("contact_person", kind, {}), solution),))


def small_talk(desk: Desk) -> Case:
    kind = desk.random.choice(("greeting", "greeting", "thanks", "bye", "chat"))
    goal = {"greeting": "greet", "chat": "introduce"}.get(kind, "thank")
    return Case("small_talk", (Turn(desk.ask("small_talk", kind, {}), reply(desk.say(kind), desk.goal(goal))),))


def out_of_scope(desk: Desk) -> Case:
    kind = desk.random.choice(("other", "other", "others_data", "forbidden"))
    slots = desk.order().slots
    said = desk.ask("out_of_scope", kind, slots)
    return Case("out_of_scope", (Turn(said, reply(desk.say(kind), desk.goal("decline"))),))
