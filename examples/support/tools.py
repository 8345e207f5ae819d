"""The shop's tools. For the sake of small models, descriptions are short and parameters few."""

from __future__ import annotations

import re
import sqlite3
from typing import Annotated, Any

from pydantic import Field

from flightloop import ToolContext, ToolRefused, tool

from .shop import database as shop
from .shop.customers import contact, signed_in
from .shop.orders import RefundRules, euros, forbid_unless_processing, item_names, order_row

MOST_CUSTOMERS, MOST_ORDERS = 5, 10

OrderId = Annotated[int, Field(ge=1, le=99_999_999)]
Reason = Annotated[str, Field(min_length=3, max_length=200)]


@tool(
    effect="pure", timeout_s=10, returns_untrusted=True, trusted_fields=("customer_id",)
)  # names are customers' words
def find_customer(context: ToolContext, query: Annotated[str, Field(min_length=2, max_length=80)]) -> Any:
    """Find a customer by email or name.

    Args:
        query: email address or name
    """
    wanted, own = query.strip(), signed_in(context)
    with shop.reading(context.data) as database:
        rows = database.execute(
            """SELECT id, name, email FROM customers
               WHERE (lower(email) = lower(?1) OR instr(lower(name), lower(?1)) > 0) AND ?3 IN (0, id)
               ORDER BY id LIMIT ?2""",
            (wanted, MOST_CUSTOMERS + 1, own or 0),
        ).fetchall()
    if not rows and wanted.isdecimal():
        raise ToolRefused(f"{wanted} is no email address and no name. If it is an order number, use delivery_status.")
    if not rows:
        raise ToolRefused(f"No customer matches {wanted!r}. Please tell me the email address.")
    if len(rows) > MOST_CUSTOMERS:
        raise ToolRefused(f"Too many customers match {wanted!r}. Use the email address or the full name.")
    # Who knows a name only must not learn the address that counts as proof of who asks.
    known = [own is not None or row["email"].lower() == wanted.lower() for row in rows]
    return [
        {"customer_id": row["id"], "name": row["name"], **({"email": row["email"]} if shown else {})}
        for row, shown in zip(rows, known, strict=True)
    ]


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def list_orders(context: ToolContext, customer_id: Annotated[int, Field(ge=1, le=99_999_999)]) -> Any:
    """List a customer's latest orders.

    Args:
        customer_id: number from find_customer
    """
    others = signed_in(context) not in (None, customer_id)
    with shop.reading(context.data) as database:
        if others or database.execute("SELECT 1 FROM customers WHERE id = ?", (customer_id,)).fetchone() is None:
            raise ToolRefused(f"There is no customer {customer_id}. Use find_customer first.")
        rows = database.execute(
            """SELECT id, status, placed_on, total_cents FROM orders
               WHERE customer_id = ? ORDER BY placed_on DESC, id DESC LIMIT ?""",
            (customer_id, MOST_ORDERS),
        ).fetchall()
        return [
            {
                "order_id": row["id"],
                "status": row["status"],
                "placed_on": row["placed_on"],
                "total": euros(row["total_cents"]),
                "items": item_names(database, row["id"]),
            }
            for row in rows
        ]


@tool(
    effect="pure",
    timeout_s=10,
    returns_untrusted=True,  # name, address and note are the customer's words
    trusted_fields=("order_id", "status", "placed_on", "delivered_on", "items", "total", "refunded", "payment"),
)
def get_order(context: ToolContext, order_id: OrderId) -> Any:
    """Show one order: status, items, total, address, refunds.

    Args:
        order_id: order number
    """
    own = signed_in(context)
    with shop.reading(context.data) as database:
        row = order_row(database, order_id, own)
        shown: dict[str, Any] = {
            "order_id": row["id"],
            "customer": row["customer"],
            # Who knows a number only must not learn the address that counts as proof of who asks.
            "email": row["email"] if own is not None else None,
            "status": row["status"],
            "placed_on": row["placed_on"],
            "delivered_on": row["delivered_on"],
            "items": item_names(database, order_id),
            "total": euros(row["total_cents"]),
            "refunded": euros(row["refunded_cents"]),
            "address": row["address"],
            "payment": row["payment"],
            "note": row["note"],
        }
    return {name: value for name, value in shown.items() if value not in (None, "")}


@tool(
    effect="pure",
    timeout_s=10,
    returns_untrusted=True,  # the carrier writes the place
    trusted_fields=("order_id", "delivery", "why", "status", "carrier", "tracking", "delivered_on", "expected_on"),
)
def delivery_status(context: ToolContext, order_id: OrderId) -> Any:
    """Show where an order's parcel is and when it is expected.

    Args:
        order_id: order number
    """
    with shop.reading(context.data) as database:
        row = order_row(database, order_id, signed_in(context))
        found = database.execute("SELECT * FROM deliveries WHERE order_id = ?", (order_id,)).fetchone()
    if found is None:
        words = "It was cancelled." if row["status"] == "cancelled" else "It has not shipped yet."
        return {"order_id": order_id, "delivery": "none", "why": words}
    parcel = {name: found[name] for name in ("order_id", "status", "carrier", "tracking", "place")}
    return {**parcel, "delivered_on" if found["status"] == "delivered" else "expected_on": found["expected_on"]}


@tool(effect="transactional", timeout_s=20, dry_run="preview_cancellation")
def cancel_order(context: ToolContext, order_id: OrderId) -> Any:
    """Cancel an order that has not shipped, and refund it.

    Args:
        order_id: order number
    """

    def effect(database: sqlite3.Connection) -> dict[str, Any]:
        order = order_row(database, order_id, signed_in(context))
        forbid_unless_processing(order, "cancelled")
        database.execute("UPDATE orders SET status = 'cancelled' WHERE id = ?", (order_id,))
        database.execute(
            """UPDATE products SET stock = stock + (SELECT quantity FROM order_items
                 WHERE order_id = ?1 AND product_id = products.id)
               WHERE id IN (SELECT product_id FROM order_items WHERE order_id = ?1)""",
            (order_id,),
        )
        left = order["total_cents"] - order["refunded_cents"]
        if left:
            _pay_back(database, order_id, left, "order cancelled")
        return {"order_id": order_id, "status": "cancelled", "refunded": euros(left), "to": order["payment"]}

    return shop.write_once(context, "cancel_order", {"order_id": order_id}, effect)


@tool(effect="transactional", timeout_s=20, dry_run="preview_refund")
def refund_order(
    context: ToolContext,
    order_id: OrderId,
    reason: Reason,
    amount: Annotated[float, Field(ge=0, le=100_000)] = 0.0,
) -> Any:
    """Refund a delivered or lost order.

    Args:
        order_id: order number
        reason: why, in a few words
        amount: euros, 0 for all
    """

    def effect(database: sqlite3.Connection) -> dict[str, Any]:
        order, cents = _refund(database, context, order_id, amount)
        _pay_back(database, order_id, cents, reason)
        return {"order_id": order_id, "refunded": euros(cents), "to": order["payment"]}

    arguments = {"order_id": order_id, "reason": reason, "amount": amount}
    return shop.write_once(context, "refund_order", arguments, effect)


@tool(effect="transactional", timeout_s=20, sinks=("address",))
def change_address(
    context: ToolContext, order_id: OrderId, address: Annotated[str, Field(min_length=8, max_length=120)]
) -> Any:
    """Change the delivery address of an order that has not shipped.

    Args:
        order_id: order number
        address: number, street, city, postcode
    """

    def effect(database: sqlite3.Connection) -> dict[str, Any]:
        forbid_unless_processing(order_row(database, order_id, signed_in(context)), "sent to another address")
        wanted = " ".join(address.split())
        # Letters of a street and of a town, which Chinese writes as one word.
        named = len(re.findall(r"[^\W\d_]{2,}", wanted)) > 1 or re.search(r"[\u4e00-\u9fff]{4}", wanted)
        if not named or not re.search(r"\d", wanted):
            raise ToolRefused("The address is incomplete: give number, street, city and postcode.")
        database.execute("UPDATE orders SET address = ? WHERE id = ?", (wanted, order_id))
        return {"order_id": order_id, "address": wanted}

    return shop.write_once(context, "change_address", {"order_id": order_id, "address": address}, effect)


@tool(effect="transactional", timeout_s=20)
def hand_over(context: ToolContext, reason: Reason, order_id: Annotated[int, Field(ge=0, le=99_999_999)] = 0) -> Any:
    """Hand the conversation over to a person.

    Args:
        reason: why, in a few words
        order_id: order number, 0 for none
    """

    with shop.reading(context.data) as database:
        row = database.execute(
            "SELECT id FROM handovers WHERE session_id = ?1 AND status = 'open' AND ?2 IN (0, order_id)",
            (context.session_id, order_id),
        ).fetchone()
    if row is not None:  # one conversation needs one person, however often the model asks
        return {"handover": row["id"], "status": "a person has it already and will answer within one working day"}

    def effect(database: sqlite3.Connection) -> dict[str, Any]:
        if order_id:
            order_row(database, order_id, signed_in(context))
        day = shop.today(database).isoformat()
        row = (order_id or None, context.session_id, reason, day)
        made = database.execute(
            "INSERT INTO handovers (order_id, session_id, reason, created_on) VALUES (?, ?, ?, ?)", row
        )
        return {"handover": made.lastrowid, "status": "a person will answer within one working day"}

    return shop.write_once(context, "hand_over", {"reason": reason, "order_id": order_id}, effect)


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def preview_refund(
    context: ToolContext, order_id: OrderId, amount: Annotated[float, Field(ge=0, le=100_000)] = 0.0
) -> Any:
    """Tell what a refund would change, before it is made.

    No agent has this tool.

    Args:
        order_id: order number
        amount: euros, 0 for all
    """
    with shop.reading(context.data) as database:
        order, cents = _refund(database, context, order_id, amount)
        before = order["refunded_cents"]
        return {
            "pays": f"{euros(cents)} to {order['payment']} for order {order_id}",
            "refunded of this order": f"{euros(before)} -> {euros(before + cents)}, of {euros(order['total_cents'])}",
        }


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def preview_cancellation(context: ToolContext, order_id: OrderId) -> Any:
    """Tell what cancelling an order would change, before it is done.

    No agent has this tool.

    Args:
        order_id: order number
    """
    with shop.reading(context.data) as database:
        order = order_row(database, order_id, signed_in(context))
        forbid_unless_processing(order, "cancelled")
        left = order["total_cents"] - order["refunded_cents"]
        return {
            "status": f"{order['status']} -> cancelled",
            "back in stock": ", ".join(item_names(database, order_id)),
            "pays": f"{euros(left)} to {order['payment']}",
        }


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def owner_of_order(context: ToolContext, order_id: OrderId) -> Any:
    """Tell whose order it is, as evidence for the policy.

    No agent has this tool: it knows the orders of all customers.

    Args:
        order_id: order number
    """
    with shop.reading(context.data) as database:
        row = order_row(database, order_id)
        return {"order_id": order_id, "customer_id": row["customer_id"], "email": row["email"]}


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def contact_of_customer(context: ToolContext, customer_id: Annotated[int, Field(ge=1, le=99_999_999)]) -> Any:
    """Tell a customer's email address, as evidence for the policy.

    No agent has this tool.

    Args:
        customer_id: customer number
    """
    with shop.reading(context.data) as database:
        return {"customer_id": customer_id, "email": contact(database, customer_id)}


def _refund(
    database: sqlite3.Connection, context: ToolContext, order_id: int, amount: float
) -> tuple[sqlite3.Row, int]:
    """The order, and the cents to refund. Raises ToolRefused."""
    wished = round(amount * 100)
    if amount and not wished:  # an amount that rounds to 0 must not refund everything
        raise ToolRefused("The smallest amount is 0.01 EUR.")
    order = order_row(database, order_id, signed_in(context))
    return order, RefundRules.of(database).amount(database, order, wished)


def _pay_back(database: sqlite3.Connection, order_id: int, cents: int, reason: str) -> None:
    database.execute(
        "INSERT INTO refunds (order_id, amount_cents, reason, created_on) VALUES (?, ?, ?, ?)",
        (order_id, cents, reason, shop.today(database).isoformat()),
    )


TOOLS = (
    find_customer,
    list_orders,
    get_order,
    delivery_status,
    cancel_order,
    refund_order,
    change_address,
    hand_over,
    preview_refund,
    preview_cancellation,
    owner_of_order,
    contact_of_customer,
)
