"""Effects of the writing tools on the shop. Each function returns the changed document.

The rules are those of the policy, and the fields those of tau2-bench's database, so that a task's right actions lead to
the expected end state.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.retail.documents import Document
from bench.retail.shop import (
    GIFT_CARD,
    Shop,
    difference,
    forbid_uncovered,
    forbid_unless,
    taken,
)
from flightloop.tool import ToolRefused

PENDING, DELIVERED = "pending", "delivered"
CHANGED = "pending (item modified)"
"""Status after items were changed, which is possible once. Address and payment can still be changed afterwards."""


def cancel(shop: Shop, order_id: str, reason: str) -> Document:
    """Cancels an order, and refunds every payment to its method."""
    order = shop.order(order_id)
    forbid_unless(order, PENDING, "cancelled")
    for method_id, amount in _paid(order).items():
        shop.pay(order, method_id, -amount)
        order["payment_history"].append(_booking("refund", amount, method_id))
    return _saved(shop, order | {"status": "cancelled", "cancel_reason": reason})


def send_elsewhere(shop: Shop, order_id: str, address: Document) -> Document:
    order = shop.order(order_id)
    _forbid_unless_open(order, "sent to another address")
    return _saved(shop, order | {"address": address})


def change_items(
    shop: Shop, order_id: str, item_ids: Sequence[str], new_item_ids: Sequence[str], method_id: str
) -> Document:
    """Replaces items of an order. The price difference is paid or refunded at once."""
    order = shop.order(order_id)
    forbid_unless(order, PENDING, "given other items")
    swaps = shop.swaps(order, item_ids, new_item_ids)
    more = difference(swaps)
    forbid_uncovered(shop.payment_method(order, method_id), more)
    shop.pay(order, method_id, more)
    order["payment_history"].append(_booking("payment" if more > 0 else "refund", abs(more), method_id))
    for swap in swaps:
        swap.item.update({name: swap.variant[name] for name in ("item_id", "price", "options")})
    return _saved(shop, order | {"status": CHANGED})


def pay_otherwise(shop: Shop, order_id: str, method_id: str) -> Document:
    """Pays the whole order by another method, and refunds the first one."""
    order = shop.order(order_id)
    _forbid_unless_open(order, "paid otherwise")
    if len(order["payment_history"]) != 1:
        raise ToolRefused(f"Order {order_id} was not paid in one payment, so its payment method stays.")
    [before] = order["payment_history"]
    method, amount = shop.payment_method(order, method_id), before["amount"]
    if method_id == before["payment_method_id"]:
        raise ToolRefused(f"Order {order_id} is paid with {method_id} already: choose another method.")
    forbid_uncovered(method, amount)
    shop.pay(order, method_id, amount)
    shop.pay(order, before["payment_method_id"], -amount)
    order["payment_history"] += [
        _booking("payment", amount, method_id),
        _booking("refund", amount, before["payment_method_id"]),
    ]
    return _saved(shop, order)


def give_back(shop: Shop, order_id: str, item_ids: Sequence[str], method_id: str) -> Document:
    """Requests a return. The refund comes once the items are back."""
    order = shop.order(order_id)
    forbid_unless(order, DELIVERED, "returned")
    method, original = shop.payment_method(order, method_id), order["payment_history"][0]["payment_method_id"]
    if method_id != original and method["source"] != GIFT_CARD:
        raise ToolRefused(f"A refund goes to the original payment method, {original}, or to a gift card.")
    taken(order, item_ids)
    asked = {"return_items": sorted(item_ids), "return_payment_method_id": method_id}
    return _saved(shop, order | {"status": "return requested"} | asked)


def exchange(
    shop: Shop, order_id: str, item_ids: Sequence[str], new_item_ids: Sequence[str], method_id: str
) -> Document:
    """Requests an exchange. Nothing is paid before the items are back."""
    order = shop.order(order_id)
    forbid_unless(order, DELIVERED, "exchanged")
    more = difference(shop.swaps(order, item_ids, new_item_ids))
    forbid_uncovered(shop.payment_method(order, method_id), more)
    asked = {
        "exchange_items": sorted(item_ids),
        "exchange_new_items": sorted(new_item_ids),
        "exchange_payment_method_id": method_id,
        "exchange_price_difference": more,
    }
    return _saved(shop, order | {"status": "exchange requested"} | asked)


def move(shop: Shop, user_id: str, address: Document) -> Document:
    """Changes the user's default address, but not that of existing orders."""
    user = shop.user(user_id) | {"address": address}
    shop.save("users", user_id, user)
    return user


def hand_over(shop: Shop, summary: str) -> Document:
    """Changes nothing in the shop: a person takes over."""
    return {"transferred": True, "summary": summary}


def _forbid_unless_open(order: Document, wish: str) -> None:
    if order["status"] != CHANGED:
        forbid_unless(order, PENDING, wish)


def _paid(order: Document) -> dict[str, float]:
    """Amount paid by each method, less refunds."""
    paid: dict[str, float] = {}
    for booking in order["payment_history"]:
        sign = 1 if booking["transaction_type"] == "payment" else -1
        method_id = booking["payment_method_id"]
        paid[method_id] = round(paid.get(method_id, 0.0) + sign * booking["amount"], 2)
    return {method_id: amount for method_id, amount in paid.items() if amount > 0}


def _booking(kind: str, amount: float, method_id: str) -> Document:
    return {"transaction_type": kind, "amount": amount, "payment_method_id": method_id}


def _saved(shop: Shop, order: Document) -> Document:
    shop.save("orders", order["order_id"], order)
    return order
