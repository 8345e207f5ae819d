"""Read access to the shop for its tools, and the preconditions of changes."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.retail.documents import Document
from flightloop.tool import ToolRefused

GIFT_CARD = "gift_card"


@dataclass(frozen=True)
class Swap:
    """An item of an order, and the variant that replaces it."""

    item: Document
    variant: Document


class Shop:
    """The documents of an open database. Documents are copies until they are saved."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def user(self, user_id: str) -> Document:
        """A user. Raises ToolRefused if there is no such user."""
        return self._found(
            "users", user_id, f"There is no user {user_id!r}. Find the user id by email, or name and zip."
        )

    def order(self, order_id: str) -> Document:
        """An order. Raises ToolRefused if there is no such order."""
        return self._found("orders", order_id, f"There is no order {order_id!r}. An order id begins with #W.")

    def product(self, product_id: str) -> Document:
        """A product. Raises ToolRefused if there is no such product."""
        hint = "An item id is no product id." if self._owner(product_id) else "list_all_product_types tells the ids."
        return self._found("products", product_id, f"There is no product {product_id!r}. {hint}")

    def variant(self, item_id: str) -> Document:
        """An item of a product. Raises ToolRefused if there is no such item."""
        product = self._owner(item_id)
        if product is None:
            raise ToolRefused(f"There is no item {item_id!r}. A product id is no item id.")
        return dict(product["variants"][item_id])

    def users(self) -> Iterator[Document]:
        yield from self._all("users")

    def products(self) -> Iterator[Document]:
        yield from self._all("products")

    def save(self, kind: str, name: str, document: Document) -> None:
        self._database.execute(
            "UPDATE documents SET body = ? WHERE kind = ? AND id = ?", (json.dumps(document), kind, name)
        )

    def payment_method(self, order: Document, method_id: str) -> Document:
        """A payment method of the order's user. Raises ToolRefused if the profile has none with this id."""
        methods = self.user(order["user_id"])["payment_methods"]
        if method_id not in methods:
            raise ToolRefused(f"The user has no payment method {method_id!r}, only {', '.join(methods)}.")
        return dict(methods[method_id])

    def pay(self, order: Document, method_id: str, amount: float) -> None:
        """Charges a gift card at once (negative amounts are credit). Other payment methods have no balance."""
        user = self.user(order["user_id"])
        method = user["payment_methods"].get(method_id)
        if method is not None and method["source"] == GIFT_CARD:
            method["balance"] = round(method["balance"] - amount, 2)
            self.save("users", user["user_id"], user)

    def swaps(self, order: Document, item_ids: Sequence[str], new_item_ids: Sequence[str]) -> list[Swap]:
        """Pairs of items and their replacements.

        Raises:
            ToolRefused: the lengths differ, the order lacks an item, or a variant is of another product or sold out.
        """
        if len(item_ids) != len(new_item_ids):
            raise ToolRefused(f"There are {len(item_ids)} items and {len(new_item_ids)} new ones: give one for each.")
        return [self._new(item, new) for item, new in zip(taken(order, item_ids), new_item_ids, strict=True)]

    def _new(self, item: Document, new_item_id: str) -> Swap:
        variants = self.product(item["product_id"])["variants"]
        if new_item_id not in variants:
            raise ToolRefused(f"Item {new_item_id!r} is no {item['name']}: get_product_details tells its items.")
        if not variants[new_item_id]["available"]:
            raise ToolRefused(f"Item {new_item_id} is not available.")
        return Swap(item, variants[new_item_id])

    def _owner(self, item_id: str) -> Document | None:
        return next((product for product in self.products() if item_id in product["variants"]), None)

    def _found(self, kind: str, name: str, refusal: str) -> Document:
        query = "SELECT body FROM documents WHERE kind = ? AND id = ?"
        row = self._database.execute(query, (kind, name)).fetchone()
        if row is None:
            raise ToolRefused(refusal)
        return dict(json.loads(row[0]))

    def _all(self, kind: str) -> Iterator[Document]:
        for row in self._database.execute("SELECT body FROM documents WHERE kind = ? ORDER BY id", (kind,)):
            yield json.loads(row[0])


def taken(order: Document, item_ids: Sequence[str]) -> list[Document]:
    """The order's items with these ids; an id that occurs twice stands for two items.

    Raises:
        ToolRefused: no id is given, or the order has fewer of these items.
    """
    if not item_ids:
        raise ToolRefused("Name at least one item.")
    left = list(order["items"])
    there = Counter(item["item_id"] for item in left)
    for item_id, wanted in Counter(item_ids).items():
        if wanted > there[item_id]:
            raise ToolRefused(f"Order {order['order_id']} has {there[item_id]} items {item_id!r}, not {wanted}.")
    return [left.pop(next(n for n, item in enumerate(left) if item["item_id"] == wanted)) for wanted in item_ids]


def difference(swaps: Sequence[Swap]) -> float:
    """Price difference of the new items; negative if they cost less."""
    return round(sum(float(swap.variant["price"]) - float(swap.item["price"]) for swap in swaps), 2)


def forbid_unless(order: Document, status: str, wish: str) -> None:
    """Raises ToolRefused if the order has another status."""
    if order["status"] != status:
        told = f"Order {order['order_id']} can't be {wish}: its status is {order['status']!r}, not {status!r}."
        raise ToolRefused(told)


def forbid_uncovered(method: Document, amount: float) -> None:
    """Raises ToolRefused for a gift card whose balance is too low."""
    if method["source"] == GIFT_CARD and method["balance"] < amount:
        raise ToolRefused(f"{method['id']} has {method['balance']:.2f} left, which doesn't cover {amount:.2f}.")
