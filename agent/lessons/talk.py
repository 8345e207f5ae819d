"""Cases without an order of the customer's: rules, products, people, small talk, what is not the shop's."""

from __future__ import annotations

from agent.lessons.desk import Desk
from agent.lessons.moves import hand_over, look_up, planned, reply
from agent.lessons.oracle import Solution
from agent.lessons.phrases import ENGLISH, Fact
from agent.lessons.stage import Case, Turn
from tools.shop.names import PRODUCTS


def rule(desk: Desk) -> Case:
    known = [fact for fact in desk.phrases.facts if desk.language in fact.asks]
    if desk.chance(0.5):  # intents with few facts would be rare otherwise
        intent = desk.random.choice(sorted({fact.intent for fact in known}))
        known = [fact for fact in known if fact.intent == intent]
    fact = desk.random.choice(known)
    said, solution = question(desk, fact)
    return Case(fact.intent, (Turn(said, solution),))


def question(desk: Desk, fact: Fact) -> tuple[str, Solution]:
    """A question, and its answer by the documents."""
    slots = _slots(desk, fact.slots)
    said = desk.voice.say(desk.random.choice(fact.asks[desk.language]), slots)
    tools = ("search_knowledge", "calculator") if fact.slots == "points" else ("search_knowledge",)
    return said, planned(desk.goal("rule", query=fact.query), tools, look_up(desk, fact, **slots))


def _slots(desk: Desk, kind: str) -> dict[str, object]:
    if kind == "points":
        return {"points": desk.random.randrange(100, 2000, 20)}
    return {"place": desk.one_of(kind)} if kind else {}


def product(desk: Desk) -> Case:
    first, second = desk.random.sample(PRODUCTS, 2)
    item = desk.plain(first[0])
    said = desk.ask("product_question", "question", {"item": item, "other": desk.plain(second[0])})
    turns = [Turn(said, reply(desk.say("product", item=item), desk.goal("product")))]
    if desk.chance(0.5):
        turns.append(_offered(desk, "product question"))
    return Case("product_question", tuple(turns))


def _offered(desk: Desk, reason: str) -> Turn:
    """The answer to the offer of a person."""
    if desk.language == ENGLISH and desk.chance(0.35):
        return Turn(desk.ask("replies", "no", {}), reply(desk.say("fine"), desk.goal("fine")))
    said = desk.ask("replies", "yes", {})
    return Turn(said, planned(desk.goal("hand_over"), ("hand_over",), hand_over(desk, reason)))


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
