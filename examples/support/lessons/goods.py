"""Cases about the shop's products: facts that the knowledge search returns, and facts that it lacks."""

from __future__ import annotations

import re
from collections.abc import Generator

from flightloop.lessons import Call, Case, Outcome, Saying, Step, Turn, planned, reply

from .desk import Desk
from .moves import Unfound, hand_over
from .phrases import ENGLISH

SEARCH = ("search_knowledge",)
CARD = re.compile(
    r"(?P<name>[^:]+): (?P<price>[\d.]+ EUR), (?P<stock>\d+) in stock, "
    r"(?:no warranty|warranty (?P<warranty>\d+) months), category \w+(?P<final>, final sale)?"
)
"""Matches a product's text in the search results."""
RETURN = re.compile(r"(?:returned within|送达后) (?P<days>\d+) (?:days after delivery|天内可以退货)")
CATEGORIES = ("outdoor", "clothing", "kitchen", "home", "electronics", "outlet")
"""All categories except ``games``: a search for "games" finds only the board game."""
UNTOLD = ("material", "colours", "size", "weight", "waterproof", "washing", "battery")
"""Properties that a search doesn't find for any product."""
STRANGE, SOLD_OUT, FINAL = 0.1, 0.25, 0.4
"""Shares of products that the shop never sold, of products out of stock, and of final-sale products in returns."""

Words = dict[str, str | None]


def price(desk: Desk) -> Case:
    return _one(desk, "product_question", "price", "price")


def stock(desk: Desk) -> Case:
    return _one(desk, "product_question", "stock", "stock")


def warranty(desk: Desk) -> Case:
    return _one(desk, "warranty", "product", "warranty")


def returning(desk: Desk) -> Case:
    where = f"final_sale = {int(desk.chance(FINAL))}"
    return _one(desk, "return_policy", "product", "return window", where)


def cheaper(desk: Desk) -> Case:
    item, second = some(desk, 2)
    said = desk.ask("product_question", "cheaper", {"item": item, "second": second})
    query = f"{item} and {second} price"
    return Case("product_question", (Turn(said, planned(desk.goal("goods", query=query), SEARCH, _both(desk, query))),))


def category(desk: Desk) -> Case:
    name = desk.random.choice(CATEGORIES)
    some(desk, 4, f"category = '{name}'")
    said = desk.ask("product_question", "category", {"category": name})
    return Case("product_question", (Turn(said, planned(desk.goal("goods", query=name), SEARCH, _listed(desk, name))),))


def follow_up(desk: Desk) -> Case:
    """Questions about the price and the stock of a product, one after the other."""
    kinds = desk.random.sample(("price", "stock"), 2)
    (item,) = some(desk)
    said = (
        desk.ask("product_question", kinds[0], {"item": item}),
        desk.ask("product_question", f"{kinds[1]}_it", {}),
    )
    turns = [
        Turn(words, planned(desk.goal("goods", query=f"{item} {kind}"), SEARCH, tell(desk, item, kind)))
        for words, kind in zip(said, kinds, strict=True)
    ]
    return Case("product_question", tuple(turns))


def untold(desk: Desk) -> Case:
    """A question about a property that the search doesn't find."""
    kind = desk.random.choice(UNTOLD)
    (item,) = some(desk)
    said = desk.ask("product_question", kind, {"item": item})
    query = f"{item} {kind}"
    return _offering(desk, Turn(said, planned(desk.goal("goods", query=query), SEARCH, _in_vain(desk, item, query))))


def opinion(desk: Desk) -> Case:
    """A question that needs no search: whether a product is any good, or what goes with it."""
    item, second = some(desk, 2)
    said = desk.ask("product_question", "question", {"item": item, "second": second})
    return _offering(desk, Turn(said, reply(desk.say("product", item=item), desk.goal("product"))))


def some(desk: Desk, count: int = 1, where: str = "1") -> list[str]:
    """Chooses products and returns their everyday names. Changes their price, stock and, if no rule sets it, warranty:
    the tasks' shop has the same products, and models should look up its figures, not learn them."""
    with desk.shop() as shop:
        rows = shop.execute(f"SELECT id, name, price_cents FROM products WHERE {where} ORDER BY id").fetchall()
    chosen = desk.random.sample(rows, count)
    for number, _, cents in chosen:
        desk.change(
            """UPDATE products SET price_cents = ?, stock = ?, warranty_months =
               CASE WHEN category IN ('home', 'games') THEN ? ELSE warranty_months END WHERE id = ?""",
            int(cents * desk.random.uniform(0.6, 1.6)) // 100 * 100 + desk.random.choice((0, 50, 90, 95, 99)),
            0 if desk.chance(SOLD_OUT) else desk.random.randint(3, 200),
            desk.random.choice((0, 6, 12, 24, 36)),
            number,
        )
    return [desk.plain(name) for _, name, _ in chosen]


def tell(desk: Desk, item: str, asked: str) -> Saying:
    """Looks up one property of a product. Raises Unfound if the search doesn't find it."""
    texts = yield from _search(f"{item} {asked}")
    card = _card(texts[0])
    words = _words(asked, card)
    days = RETURN.search(" ".join(texts))
    if words == "return" and days is None:
        raise Unfound(f"the knowledge search for {item!r} did not return the return period")
    return desk.say("goods", words, **card, days=days and days["days"])


def _one(desk: Desk, intent: str, kind: str, asked: str, where: str = "1") -> Case:
    """A question about one product, or about a thing that only other shops have."""
    strange = kind != "product" and desk.chance(STRANGE)
    item = desk.one_of("never_bought") if strange else some(desk, 1, where)[0]
    saying = _strange(desk, item, asked) if strange else tell(desk, item, asked)
    goal = desk.goal("goods", query=f"{item} {asked}")
    return Case(intent, (Turn(desk.ask(intent, kind, {"item": item}), planned(goal, SEARCH, saying)),))


def _words(asked: str, card: Words) -> str:
    """Name of the agent's wording that fits the product's data."""
    if asked == "stock":
        return "out of stock" if card["stock"] == "0" else "in stock"
    if asked == "warranty":
        return "warranty" if card["warranty"] else "no warranty"
    if asked == "return window":
        return "final sale" if card["final"] else "return"
    return asked


def _both(desk: Desk, query: str) -> Saying:
    texts = yield from _search(query)
    low, high = sorted((_card(text) for text in texts[:2]), key=lambda card: _euros(card["price"]))
    if low["price"] == high["price"]:
        raise Unfound(f"both products of the search {query!r} have the same price")
    return desk.say("goods", "cheaper", **low, second=high["name"], more=high["price"])


def _listed(desk: Desk, name: str) -> Saying:
    texts = yield from _search(name)
    goods = next((text.removeprefix(f"{name}: ") for text in texts if text.startswith(f"{name}: ")), None)
    if goods is None:
        raise Unfound(f"the knowledge search for category {name!r} did not return its product list")
    return desk.say("goods", "category", category=name, goods=desk.joined(goods.split(", ")))


def _strange(desk: Desk, item: str, asked: str) -> Saying:
    texts = yield from _search(f"{item} {asked}")
    if CARD.fullmatch(texts[0]):
        raise Unfound(f"the knowledge search for {item!r} returned a product of the shop")
    return desk.say("goods", "none", item=item)


def _in_vain(desk: Desk, item: str, query: str) -> Saying:
    _card((yield from _search(query))[0])
    return desk.say("product", item=item)


def _search(query: str) -> Generator[Step, Outcome, list[str]]:
    """Texts of the search results. Raises Unfound if the search fails."""
    outcome = yield Call("search_knowledge", {"query": query})
    if not outcome.ok:
        raise Unfound(outcome.value)
    return [found["text"] for found in outcome.value]


def _card(text: str) -> Words:
    """A product's figures, parsed from its search result. Raises Unfound if the result is no product."""
    found = CARD.fullmatch(text)
    if found is None:
        raise Unfound(f"the search result is not a product: {text!r}")
    return found.groupdict()


def _euros(price: str | None) -> float:
    assert price is not None
    return float(price.removesuffix(" EUR"))


def _offering(desk: Desk, first: Turn) -> Case:
    """A product question whose first turn offers a person at its end; in half of the cases, a second turn replies."""
    return Case("product_question", (first, _offered(desk)) if desk.chance(0.5) else (first,))


def _offered(desk: Desk) -> Turn:
    if desk.language == ENGLISH and desk.chance(0.35):
        return Turn(desk.ask("replies", "no", {}), reply(desk.say("fine"), desk.goal("fine")))
    said = desk.ask("replies", "yes", {})
    saying = hand_over(desk, "product question")
    return Turn(said, planned(desk.goal("hand_over"), ("hand_over",), saying))
