"""Cases with two requests in one message, and conversations with several requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from flightloop.lessons import Case, Plan, Say, Saying, Solution, Turn, planned, reply

from .desk import Desk
from .goods import SEARCH, some, tell
from .moves import cancel, hand_over, look_up, move, refund, show, track
from .orders import OPEN, SENT, cancel_order, order_details, track_order
from .phrases import ENGLISH, Untold
from .refunds import FRESH, LOOK, REASON_OF, SMALL
from .talk import rule


@dataclass(frozen=True)
class _Next:
    """A later request about an order. ``where``: SQL condition on it; ``saying`` gets its number, and an address."""

    intent: str
    goal: str
    tools: tuple[str, ...]
    where: str
    saying: Callable[[Desk, int, str], Saying]


NEXT = (
    _Next("track_order", "track", ("delivery_status",), "1", lambda desk, number, _: track(desk, number, "where")),
    _Next("order_details", "show", ("get_order",), SENT, lambda desk, number, _: show(desk, number, "items")),
    _Next(
        "cancel_order", "cancel", ("cancel_order",), f"{OPEN} OR {SENT}", lambda desk, number, _: cancel(desk, number)
    ),
    _Next("change_address", "move", ("change_address",), f"{OPEN} OR {SENT}", move),
    _Next(
        "refund_unwanted",
        "refund",
        LOOK,
        f"{FRESH} AND {SMALL}",
        lambda desk, number, _: refund(desk, number, REASON_OF["refund_unwanted"]),
    ),
    _Next(
        "contact_person",
        "hand_over_order",
        ("hand_over",),
        SENT,
        lambda desk, number, _: hand_over(desk, "asks for a person", number),
    ),
)


@dataclass(frozen=True)
class _Wish:
    """One of several requests: its text, the goal and tools of its plan, and its solution."""

    said: str
    goal: str
    tools: tuple[str, ...]
    saying: Saying


def several(desk: Desk) -> Case:
    """Two requests in one message, in English. Raises Untold for other languages."""
    if desk.language != ENGLISH:
        raise Untold(f"only in English, not in {desk.language}")
    makers = desk.random.sample((_track, _cancel, _move, _show, _pay_back, _rule, _look), 2)
    # Requests that may be refused come last: after a failure, the plan is made anew.
    first, second = (make(desk) for make in makers)
    text = f"{first.said.rstrip('.!? ')}{desk.one_of('joints')} {second.said}"
    goal = desk.goal("both", first=first.goal, second=second.goal)[:80]
    tools = tuple(dict.fromkeys((*first.tools, *second.tools)))
    return Case("several_at_once", (Turn(text, _both(goal, tools, first.saying, second.saying)),))


def _both(goal: str, tools: tuple[str, ...], first: Saying, second: Saying) -> Solution:
    yield Plan(goal, tools)
    one = yield from first
    two = yield from second
    yield Say(f"{one} {two}")


def _track(desk: Desk) -> _Wish:
    order = desk.order(f"{SENT} AND d.status <> 'lost'")
    said = desk.ask("track_order", desk.random.choice(("where", "when")), order.slots)
    return _Wish(
        said, desk.goal("track", number=order.number), ("delivery_status",), track(desk, order.number, "where")
    )


def _cancel(desk: Desk) -> _Wish:
    order = desk.order(f"{OPEN} AND o.id % 2 = 0")
    said = desk.ask("cancel_order", "number", order.slots)
    return _Wish(said, desk.goal("cancel", number=order.number), ("cancel_order",), cancel(desk, order.number))


def _move(desk: Desk) -> _Wish:
    order, address = desk.order(f"{OPEN} AND o.id % 2 = 1"), desk.address()
    said = desk.ask("change_address", "number", {**order.slots, "address": address})
    goal = desk.goal("move", number=order.number)
    return _Wish(said, goal, ("change_address",), move(desk, order.number, address))


def _show(desk: Desk) -> _Wish:
    order = desk.order()
    kind = desk.random.choice(("items", "total", "address"))
    said = desk.ask("order_details", kind, order.slots)
    return _Wish(said, desk.goal("show", number=order.number), ("get_order",), show(desk, order.number, kind))


def _pay_back(desk: Desk) -> _Wish:
    order = desk.order(f"{FRESH} AND {SMALL}")
    said = desk.ask("refund_unwanted", "number", order.slots)
    saying = refund(desk, order.number, REASON_OF["refund_unwanted"])
    return _Wish(said, desk.goal("refund", number=order.number), LOOK, saying)


def _look(desk: Desk) -> _Wish:
    kind = desk.random.choice(("price", "stock"))
    (item,) = some(desk)
    said = desk.ask("product_question", kind, {"item": item})
    return _Wish(said, desk.goal("goods", query=f"{item} {kind}"), SEARCH, tell(desk, item, kind))


def _rule(desk: Desk) -> _Wish:
    fact = desk.random.choice([fact for fact in desk.phrases.facts if desk.language in fact.asks and not fact.slots])
    said = desk.random.choice(fact.asks[desk.language])
    return _Wish(said, desk.goal("rule", query=fact.query), SEARCH, look_up(desk, fact))


def follow_up(desk: Desk) -> Case:
    """A question about an order, and then a request that calls the order "it"."""
    then = desk.random.choice(NEXT)
    order, address = desk.order(then.where), desk.address()
    if then.intent == "track_order":
        first = Turn(
            desk.ask("order_details", "items", order.slots),
            planned(desk.goal("show", number=order.number), ("get_order",), show(desk, order.number, "items")),
            "order_details",
        )
    else:
        first = Turn(
            desk.ask("track_order", "where", order.slots),
            planned(desk.goal("track", number=order.number), ("delivery_status",), track(desk, order.number, "where")),
            "track_order",
        )
    saying = then.saying(desk, order.number, address)
    solution = planned(desk.goal(then.goal, number=order.number), then.tools, saying)
    return Case(first.intent, (first, Turn(desk.ask(then.intent, "it", {"address": address}), solution, then.intent)))


def long_talk(desk: Desk) -> Case:
    """A whole session: one or two requests, often with a greeting before them or thanks after them."""
    makers: tuple[Callable[[Desk], Case], ...] = (track_order, order_details, cancel_order, rule)
    wishes = [make(desk) for make in desk.random.sample(makers, desk.random.randint(1, 2))]
    turns = [replace(turn, intent=wish.intent) for wish in wishes for turn in wish.turns]
    if desk.chance(0.5):
        greeted = reply(desk.say("greeting"), desk.goal("greet"))
        turns.insert(0, Turn(desk.ask("small_talk", "greeting", {}), greeted, "small_talk"))
    if desk.chance(0.5):
        thanked = reply(desk.say("thanks"), desk.goal("thank"))
        turns.append(Turn(desk.ask("small_talk", "thanks", {}), thanked, "small_talk"))
    return Case(wishes[0].intent, tuple(turns))
