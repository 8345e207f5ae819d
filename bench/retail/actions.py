"""Tools that change the shop, with the names and arguments in tau2-bench's tasks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from bench.retail import changes
from bench.retail.documents import FILE, Document
from bench.retail.lookups import Id, Text
from bench.retail.shop import Shop
from flightloop.receipts import write_once
from flightloop.tool import ToolContext, tool

Ids = Annotated[list[Id], Field(min_length=1, max_length=20)]
Reason = Literal["no longer needed", "ordered by mistake"]


@tool(effect="transactional", timeout_s=20)
def cancel_pending_order(context: ToolContext, order_id: Id, reason: Reason) -> Any:
    """Cancel a pending order and refund it, once the user has confirmed.

    Args:
        order_id: begins with #W
        reason: the user's reason
    """
    return _write(context, changes.cancel, order_id, reason)


@tool(effect="transactional", timeout_s=20, sinks=("address1",))
def modify_pending_order_address(
    context: ToolContext,
    order_id: Id,
    address1: Text,
    address2: Text,
    city: Text,
    state: Text,
    country: Text,
    zip: Text,
) -> Any:
    """Change where a pending order goes, once the user has confirmed.

    Args:
        order_id: begins with #W
        address1: number and street
        address2: apartment or suite, may be empty
        city: the city
        state: such as CA
        country: such as USA
        zip: the zip code
    """
    address = _address(address1, address2, city, state, country, zip)
    return _write(context, changes.send_elsewhere, order_id, address)


@tool(effect="transactional", timeout_s=20)
def modify_pending_order_items(
    context: ToolContext, order_id: Id, item_ids: Ids, new_item_ids: Ids, payment_method_id: Id
) -> Any:
    """Change items of a pending order to others of the same products, once only, after the user has confirmed.

    Args:
        order_id: begins with #W
        item_ids: the items to change
        new_item_ids: what they become, in the same order
        payment_method_id: pays the difference, or gets it
    """
    return _write(context, changes.change_items, order_id, item_ids, new_item_ids, payment_method_id)


@tool(effect="transactional", timeout_s=20)
def modify_pending_order_payment(context: ToolContext, order_id: Id, payment_method_id: Id) -> Any:
    """Pay a pending order by another method, once the user has confirmed.

    Args:
        order_id: begins with #W
        payment_method_id: the new one
    """
    return _write(context, changes.pay_otherwise, order_id, payment_method_id)


@tool(effect="transactional", timeout_s=20, sinks=("address1",))
def modify_user_address(
    context: ToolContext,
    user_id: Id,
    address1: Text,
    address2: Text,
    city: Text,
    state: Text,
    country: Text,
    zip: Text,
) -> Any:
    """Change a user's default address, once the user has confirmed.

    Args:
        user_id: for example mary_poe_1234
        address1: number and street
        address2: apartment or suite, may be empty
        city: the city
        state: such as CA
        country: such as USA
        zip: the zip code
    """
    address = _address(address1, address2, city, state, country, zip)
    return _write(context, changes.move, user_id, address)


@tool(effect="transactional", timeout_s=20)
def return_delivered_order_items(context: ToolContext, order_id: Id, item_ids: Ids, payment_method_id: Id) -> Any:
    """Return items of a delivered order, once the user has confirmed.

    Args:
        order_id: begins with #W
        item_ids: the items to return
        payment_method_id: gets the refund: the original one or a gift card
    """
    return _write(context, changes.give_back, order_id, item_ids, payment_method_id)


@tool(effect="transactional", timeout_s=20)
def exchange_delivered_order_items(
    context: ToolContext, order_id: Id, item_ids: Ids, new_item_ids: Ids, payment_method_id: Id
) -> Any:
    """Exchange items of a delivered order for others of the same products, once only, after the user has confirmed.

    Args:
        order_id: begins with #W
        item_ids: the items to exchange
        new_item_ids: what comes for them, in the same order
        payment_method_id: pays the difference, or gets it
    """
    return _write(context, changes.exchange, order_id, item_ids, new_item_ids, payment_method_id)


@tool(effect="transactional", timeout_s=20)
def transfer_to_human_agents(
    context: ToolContext, summary: Annotated[str, Field(min_length=1, max_length=1000)]
) -> Any:
    """Transfer the user to a human agent, if nothing else helps.

    Args:
        summary: what the user wants
    """
    return _write(context, changes.hand_over, summary)


def _write(context: ToolContext, change: Callable[..., Document], *arguments: Any) -> Document:
    """Runs one transaction with a receipt, so that a call repeated after a crash takes effect once."""

    def effect(database: sqlite3.Connection) -> Document:
        return change(Shop(database), *arguments)

    return write_once(context, change.__name__, {"arguments": json.dumps(arguments)}, effect, FILE)


def _address(address1: str, address2: str, city: str, state: str, country: str, zip: str) -> Document:
    return {"address1": address1, "address2": address2, "city": city, "state": state, "country": country, "zip": zip}
