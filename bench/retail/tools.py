"""The sixteen tools of the retail agent."""

from __future__ import annotations

from bench.retail import actions, lookups

READS = (
    lookups.find_user_id_by_email,
    lookups.find_user_id_by_name_zip,
    lookups.get_user_details,
    lookups.get_order_details,
    lookups.get_product_details,
    lookups.get_item_details,
    lookups.list_all_product_types,
    lookups.calculate,
)
WRITES = (
    actions.cancel_pending_order,
    actions.modify_pending_order_address,
    actions.modify_pending_order_items,
    actions.modify_pending_order_payment,
    actions.modify_user_address,
    actions.return_delivered_order_items,
    actions.exchange_delivered_order_items,
    actions.transfer_to_human_agents,
)
TOOLS = READS + WRITES
