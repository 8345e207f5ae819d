"""Customers, and which of them is signed in."""

from __future__ import annotations

import sqlite3

from flightloop import ToolContext, ToolRefused


def signed_in(context: ToolContext) -> int | None:
    """Number of the customer on whose behalf the run acts; None if nobody is signed in.

    Raises:
        ToolRefused: the subject is none of the shop's customers.
    """
    if context.subject is None:
        return None
    number = context.subject.id
    if not (number.isascii() and number.isdecimal() and 0 < int(number) <= 99_999_999 and str(int(number)) == number):
        raise ToolRefused("The user who is signed in is no customer of this shop.")
    return int(number)


def contact(database: sqlite3.Connection, customer_id: int) -> str:
    """A customer's email address. Raises ToolRefused if there is no such customer."""
    row = database.execute("SELECT email FROM customers WHERE id = ?", (customer_id,)).fetchone()
    if row is None:
        raise ToolRefused(f"There is no customer {customer_id}.")
    return str(row["email"])
