"""A small shop with two users, and tasks about it, in the format of tau2-bench's files, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.retail.data import DATABASE, POLICY, SPLITS, TASKS
from bench.retail.documents import Document

HOME = {
    "address1": "1 Hill Road",
    "address2": "",
    "city": "Berlin",
    "state": "BE",
    "country": "Germany",
    "zip": "10115",
}
AWAY = HOME | {"address1": "9 Lake Road", "zip": "10999"}
RULES = "You sell mugs and lamps. Ask who it is, and change nothing that the user has not confirmed."


def shop() -> dict[str, dict[str, Document]]:
    """A new shop. Prices: mugs 10 (blue), 12.50 (red), 60 (gold), 11 (green, sold out); lamp 40.

    Ann has 30 on her gift card. Her orders: #W1 is pending and has two blue mugs and a lamp, paid by card; #W2 is
    delivered and has a blue mug and a lamp, paid by gift card; #W3 is pending, a blue mug paid by gift card; #W4 is
    cancelled.
    """
    return {
        "users": {
            "ann_poe_1": _user("ann_poe_1", "Ann", "Poe", ["#W1", "#W2", "#W3", "#W4"], gift_card_1=30.0),
            "bo_lee_2": _user("bo_lee_2", "Bo", "Lee", []),
        },
        "products": {"100": _product("100", "Mug", MUGS), "200": _product("200", "Lamp", LAMPS)},
        "orders": {
            "#W1": _order("#W1", "pending", ["101", "101", "201"], "credit_card_1"),
            "#W2": _order("#W2", "delivered", ["101", "201"], "gift_card_1"),
            "#W3": _order("#W3", "pending", ["101"], "gift_card_1"),
            "#W4": _order("#W4", "cancelled", ["101"], "paypal_1"),
        },
    }


def task(name: str, reason: str, actions: Sequence[tuple[str, dict[str, Any]]], **more: Any) -> Document:
    """A task in the format of ``tasks.json``.

    Args:
        reason: reason of the call.
        actions: the right calls, by name and arguments.
        more: ``told``, and the other instructions.
    """
    known = {"known_info": "You are Ann Poe and your email is ann.poe@example.com.", "unknown_info": None}
    told = more.pop("told", [])
    return {
        "id": name,
        "user_scenario": {"instructions": {"domain": "retail", "reason_for_call": reason, **known, **more}},
        "initial_state": None,
        "evaluation_criteria": {
            "actions": [{"name": called, "arguments": arguments, "info": None} for called, arguments in actions],
            "communicate_info": told,
        },
    }


def tasks() -> list[Document]:
    return [
        task(
            "a",
            "You want to cancel order #W1 because you ordered it by mistake.",
            [("cancel_pending_order", {"order_id": "#W1", "reason": "ordered by mistake"})],
        ),
        task("b", "You want to know how many mugs there are.", [], told=["4"]),
    ]


def write(folder: Path) -> Path:
    """Writes the data set's files and returns their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = {"train": ["b"], "test": ["a", "b"], "base": ["a", "b"]}
    for name, document in ((DATABASE, shop()), (TASKS, tasks()), (SPLITS, splits)):
        (folder / name).write_text(json.dumps(document), "utf-8")
    (folder / POLICY).write_text(RULES, "utf-8")
    return folder


MUGS = {
    "101": ("blue", 10.0, True),
    "102": ("red", 12.5, True),
    "103": ("gold", 60.0, True),
    "104": ("green", 11.0, False),
}
LAMPS = {"201": ("white", 40.0, True)}


def _user(name: str, first: str, last: str, orders: Sequence[str], **cards: float) -> Document:
    methods: dict[str, Document] = {
        card: {"source": "gift_card", "id": card, "balance": balance} for card, balance in cards.items()
    }
    methods |= {each: {"source": each.removesuffix("_1"), "id": each} for each in ("credit_card_1", "paypal_1")}
    return {
        "user_id": name,
        "name": {"first_name": first, "last_name": last},
        "address": HOME,
        "email": f"{first}.{last}@example.com".lower(),
        "payment_methods": methods,
        "orders": list(orders),
    }


def _product(name: str, kind: str, variants: dict[str, tuple[str, float, bool]]) -> Document:
    return {
        "product_id": name,
        "name": kind,
        "variants": {
            item: {"item_id": item, "options": {"color": color}, "available": available, "price": price}
            for item, (color, price, available) in variants.items()
        },
    }


def _order(name: str, status: str, items: Sequence[str], method: str) -> Document:
    bought = [_item(item) for item in items]
    total = sum(item["price"] for item in bought)
    return {
        "order_id": name,
        "user_id": "ann_poe_1",
        "address": HOME,
        "items": bought,
        "status": status,
        "fulfillments": [],
        "payment_history": [{"transaction_type": "payment", "amount": total, "payment_method_id": method}],
    }


def _item(item: str) -> Document:
    kind, product, variants = ("Mug", "100", MUGS) if item in MUGS else ("Lamp", "200", LAMPS)
    color, price, _ = variants[item]
    return {"name": kind, "product_id": product, "item_id": item, "price": price, "options": {"color": color}}
