"""Orders as the tools show them, and the rules for cancelling, changing and refunding them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import date

from flightloop import ToolRefused

from .database import setting, today


def euros(cents: int) -> str:
    return f"{cents / 100:.2f} EUR"


def order_row(database: sqlite3.Connection, order_id: int, customer_id: int | None = None) -> sqlite3.Row:
    """The order's row, with its customer and the sum of its refunds.

    Args:
        customer_id: the customer who is signed in, who has no other orders than their own; None: nobody is.

    Raises:
        ToolRefused: there is no such order.
    """
    row = database.execute(
        """SELECT orders.*, customers.name AS customer, customers.email AS email,
             (SELECT COALESCE(SUM(amount_cents), 0) FROM refunds WHERE order_id = orders.id) AS refunded_cents
           FROM orders JOIN customers ON customers.id = customer_id WHERE orders.id = ?""",
        (order_id,),
    ).fetchone()
    if row is None or customer_id not in (None, row["customer_id"]):
        raise ToolRefused(f"There is no order {order_id}. Check the number, or list the customer's orders.")
    assert isinstance(row, sqlite3.Row)
    return row


def item_names(database: sqlite3.Connection, order_id: int) -> list[str]:
    rows = database.execute(
        """SELECT quantity, name FROM order_items JOIN products ON products.id = product_id
           WHERE order_id = ? ORDER BY product_id""",
        (order_id,),
    )
    return [f"{row['quantity']} x {row['name']}" for row in rows]


def forbid_unless_processing(order: sqlite3.Row, wish: str) -> None:
    """Raises ToolRefused unless an order is processing: others can't be cancelled or sent to another address."""
    if order["status"] != "processing":
        hint = {
            "shipped": "It has shipped already.",
            "delivered": f"It was delivered on {order['delivered_on']}.",
            "cancelled": "It is cancelled.",
        }[order["status"]]
        raise ToolRefused(f"Order {order['id']} can't be {wish}. {hint}")


@dataclass(frozen=True)
class RefundRules:
    """The shop's refund policy."""

    today: date
    return_days: int
    limit_cents: int

    @classmethod
    def of(cls, database: sqlite3.Connection) -> RefundRules:
        return cls(today(database), int(setting(database, "return_days")), int(setting(database, "refund_limit_cents")))

    def amount(self, database: sqlite3.Connection, order: sqlite3.Row, wished_cents: int) -> int:
        """Cents to refund: ``wished_cents``, or all that is left if 0. Raises ToolRefused with the violated rule."""
        number = order["id"]
        left = order["total_cents"] - order["refunded_cents"]
        if left == 0:
            raise ToolRefused(f"Order {number} was refunded in full already ({euros(order['total_cents'])}).")
        self._check_time(database, order)
        cents = wished_cents or left
        if cents > left:
            raise ToolRefused(f"Order {number}: at most {euros(left)} can be refunded, not {euros(cents)}.")
        if cents > self.limit_cents:
            raise ToolRefused(f"Order {number}: refunds over {euros(self.limit_cents)} need a person. Use hand_over.")
        return cents

    def _check_time(self, database: sqlite3.Connection, order: sqlite3.Row) -> None:
        number, status = order["id"], order["status"]
        if status == "processing":
            raise ToolRefused(f"Order {number} has not shipped. Cancel it instead: that refunds it in full.")
        if status == "shipped":
            delivery = database.execute("SELECT status FROM deliveries WHERE order_id = ?", (number,)).fetchone()
            if delivery is None or delivery["status"] != "lost":
                raise ToolRefused(f"Order {number} is on its way. It can be refunded once it is delivered or lost.")
            return
        days = (self.today - date.fromisoformat(order["delivered_on"])).days
        if days > self.return_days:
            raise ToolRefused(
                f"Order {number} was delivered {days} days ago. Refunds are possible within {self.return_days} days."
            )
        final = database.execute(
            """SELECT COUNT(*) AS found FROM order_items JOIN products ON products.id = product_id
               WHERE order_id = ? AND final_sale = 1""",
            (number,),
        ).fetchone()
        if final["found"]:
            raise ToolRefused(f"Order {number} has final-sale items from the outlet. They can't be refunded.")
