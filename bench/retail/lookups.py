"""Tools that read the shop, with the names and arguments in tau2-bench's tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from bench.retail.documents import FILE, Document
from bench.retail.shop import Shop
from flightloop.receipts import reading
from flightloop.tool import ToolContext, ToolRefused, tool
from tools.builtin.calculator import MAX_CHARACTERS, evaluate

Id = Annotated[str, Field(min_length=1, max_length=40)]
Text = Annotated[str, Field(max_length=120)]


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def find_user_id_by_email(context: ToolContext, email: Text) -> str:
    """Find a user's id by email.

    Args:
        email: the user's email address
    """
    return _user_id(context, lambda user: _same(user["email"], email), "email. Ask for name and zip code")


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def find_user_id_by_name_zip(context: ToolContext, first_name: Text, last_name: Text, zip: Text) -> str:
    """Find a user's id by name and zip code, if there is no email.

    Args:
        first_name: the user's first name
        last_name: the user's last name
        zip: the user's zip code
    """

    def fits(user: Document) -> bool:
        name = user["name"]
        named = _same(name["first_name"], first_name) and _same(name["last_name"], last_name)
        return named and _same(user["address"]["zip"], zip)

    return _user_id(context, fits, "name and zip code. Ask for them again, or for the email")


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def get_user_details(context: ToolContext, user_id: Id) -> Any:
    """Show a user: name, address, email, payment methods, order ids.

    Args:
        user_id: for example mary_poe_1234
    """
    with reading(context.data, FILE) as database:
        return Shop(database).user(user_id)


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def get_order_details(context: ToolContext, order_id: Id) -> Any:
    """Show an order: status, items, address, tracking, payments.

    Args:
        order_id: begins with #W
    """
    with reading(context.data, FILE) as database:
        return Shop(database).order(order_id)


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def get_product_details(context: ToolContext, product_id: Id) -> Any:
    """Show a product's items: options, price, whether available.

    Args:
        product_id: not an item id
    """
    with reading(context.data, FILE) as database:
        return Shop(database).product(product_id)


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def get_item_details(context: ToolContext, item_id: Id) -> Any:
    """Show one item: options, price, whether available.

    Args:
        item_id: not a product id
    """
    with reading(context.data, FILE) as database:
        return Shop(database).variant(item_id)


@tool(effect="pure", timeout_s=10, returns_untrusted=False)
def list_all_product_types(context: ToolContext) -> Any:
    """List all product types with their product ids."""
    with reading(context.data, FILE) as database:
        return dict(sorted((product["name"], product["product_id"]) for product in Shop(database).products()))


@tool(effect="pure", timeout_s=5)
def calculate(expression: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]) -> float:
    """Calculate an arithmetic expression.

    Args:
        expression: for example 2 * 19.99 + 5
    """
    return round(float(evaluate(expression)), 2)


def _user_id(context: ToolContext, fits: Callable[[Document], bool], by: str) -> str:
    with reading(context.data, FILE) as database:
        for user in Shop(database).users():
            if fits(user):
                return str(user["user_id"])
    raise ToolRefused(f"There is no user with this {by}.")


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()
