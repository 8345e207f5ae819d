"""The retail shop: what its tools find, change and refuse, and that right actions lead to the end state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.retail.documents import FILE, KINDS, State, image, renew, state
from bench.retail.fakes import AWAY, HOME, shop, task
from bench.retail.judge import judge, replay
from bench.retail.tasks import Action, Task
from bench.retail.tools import READS, TOOLS, WRITES
from flightloop.receipts import receipt
from flightloop.tool import Effect, ToolContext, ToolRefused, tool_of
from tools.registry import Registry

IMAGE = image(shop())
REGISTRY = Registry.load(["bench.retail.tools"])
CANCEL = {"order_id": "#W1", "reason": "ordered by mistake"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    renew(tmp_path / FILE, IMAGE)
    return tmp_path


def call(data: Path, name: str, key: str = "run:0:0", **arguments: Any) -> Any:
    assert REGISTRY.problems(name, arguments) == []
    tool = REGISTRY.tool(name)
    context = ToolContext(key, "default", "retail", "session", "run", data)
    given = {tool.context_parameter: context} if tool.context_parameter else {}
    return tool.function(**arguments, **given)


def balance(found: State) -> float:
    return float(found["users", "ann_poe_1"]["payment_methods"]["gift_card_1"]["balance"])


def order(data: Path, name: str) -> dict[str, Any]:
    return state(data / FILE)["orders", name]


def bookings(document: dict[str, Any]) -> list[tuple[str, float, str]]:
    return [
        (each["transaction_type"], each["amount"], each["payment_method_id"]) for each in document["payment_history"]
    ]


def test_there_are_the_sixteen_tools_and_their_effects_are_declared() -> None:
    specs = [tool_of(function).spec for function in TOOLS]  # type: ignore[union-attr]
    assert len({spec.name for spec in specs}) == 16
    assert {spec.effect for spec in specs[: len(READS)]} == {Effect.PURE}
    assert {spec.effect for spec in specs[-len(WRITES) :]} == {Effect.TRANSACTIONAL}


def test_a_new_shop_is_the_documents_that_it_was_made_of(data: Path) -> None:
    made = shop()
    assert state(data / FILE) == {(kind, name): each for kind in KINDS for name, each in made[kind].items()}
    call(data, "cancel_pending_order", **CANCEL)
    renew(data / FILE, IMAGE)
    assert order(data, "#W1") == made["orders"]["#W1"]


def test_what_is_looked_up(data: Path) -> None:
    assert call(data, "find_user_id_by_email", email="Ann.Poe@example.com ") == "ann_poe_1"
    assert call(data, "find_user_id_by_name_zip", first_name="ann", last_name="POE", zip="10115") == "ann_poe_1"
    assert call(data, "get_user_details", user_id="bo_lee_2")["name"] == {"first_name": "Bo", "last_name": "Lee"}
    assert call(data, "get_order_details", order_id="#W4")["status"] == "cancelled"
    assert len(call(data, "get_product_details", product_id="100")["variants"]) == 4
    assert call(data, "get_item_details", item_id="103")["price"] == 60.0
    assert call(data, "list_all_product_types") == {"Lamp": "200", "Mug": "100"}
    assert call(data, "calculate", expression="(19.99 + 5) * 3") == 74.97


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("find_user_id_by_email", {"email": "x@example.com"}, "Ask for name and zip"),
        ("find_user_id_by_name_zip", {"first_name": "Ann", "last_name": "Poe", "zip": "1"}, "Ask for them again"),
        ("get_user_details", {"user_id": "ann"}, "no user 'ann'"),
        ("get_order_details", {"order_id": "W1"}, "begins with #W"),
        ("get_product_details", {"product_id": "101"}, "An item id is no product id"),
        ("get_product_details", {"product_id": "9"}, "list_all_product_types"),
        ("get_item_details", {"item_id": "100"}, "A product id is no item id"),
        ("calculate", {"expression": "open('x')"}, "not allowed"),
        ("cancel_pending_order", {"order_id": "#W2", "reason": "no longer needed"}, "its status is 'delivered'"),
        ("modify_pending_order_address", {"order_id": "#W4", **AWAY}, "'cancelled', not 'pending'"),
        ("modify_user_address", {"user_id": "nobody", **AWAY}, "no user 'nobody'"),
    ],
)
def test_what_is_not_there_or_not_allowed_is_refused(
    name: str, arguments: dict[str, Any], said: str, data: Path
) -> None:
    before = state(data / FILE)
    with pytest.raises(ToolRefused, match=said):
        call(data, name, **arguments)
    assert state(data / FILE) == before


def test_a_reason_of_ones_own_fits_no_schema() -> None:
    assert REGISTRY.problems("cancel_pending_order", CANCEL | {"reason": "changed my mind"})


def test_cancelling_pays_back_to_where_the_money_came_from(data: Path) -> None:
    cancelled = call(data, "cancel_pending_order", **CANCEL)
    assert (cancelled["status"], cancelled["cancel_reason"]) == ("cancelled", "ordered by mistake")
    assert bookings(cancelled) == [("payment", 60.0, "credit_card_1"), ("refund", 60.0, "credit_card_1")]
    call(data, "cancel_pending_order", key="run:1:0", order_id="#W3", reason="no longer needed")
    found = state(data / FILE)
    assert balance(found) == 40.0
    assert found["orders", "#W1"] == cancelled


def test_a_lost_call_that_is_repeated_happens_once(data: Path) -> None:
    first = call(data, "cancel_pending_order", order_id="#W3", reason="no longer needed")
    assert call(data, "cancel_pending_order", order_id="#W3", reason="no longer needed") == first
    assert balance(state(data / FILE)) == 40.0
    with pytest.raises(ToolRefused, match="another call"):
        call(data, "cancel_pending_order", **CANCEL)


def test_addresses_of_orders_and_users_change_each_for_itself(data: Path) -> None:
    call(data, "modify_pending_order_address", order_id="#W1", **AWAY)
    found = state(data / FILE)
    assert found["orders", "#W1"]["address"] == AWAY
    assert found["users", "ann_poe_1"]["address"] == HOME
    call(data, "modify_user_address", key="run:1:0", user_id="ann_poe_1", **AWAY)
    found = state(data / FILE)
    assert found["users", "ann_poe_1"]["address"] == AWAY
    assert found["orders", "#W3"]["address"] == HOME


def items(order_id: str, old: list[str], new: list[str], method: str = "gift_card_1") -> dict[str, Any]:
    return {"order_id": order_id, "item_ids": old, "new_item_ids": new, "payment_method_id": method}


def test_items_of_a_pending_order_change_once_and_the_difference_is_booked(data: Path) -> None:
    changed = call(data, "modify_pending_order_items", **items("#W1", ["101", "101"], ["102", "101"]))
    assert changed["status"] == "pending (item modified)"
    assert [(each["item_id"], each["price"]) for each in changed["items"]] == [
        ("102", 12.5),
        ("101", 10.0),
        ("201", 40.0),
    ]
    assert changed["items"][0]["options"] == {"color": "red"}
    assert bookings(changed)[1:] == [("payment", 2.5, "gift_card_1")]
    assert balance(state(data / FILE)) == 27.5
    with pytest.raises(ToolRefused, match="can't be given other items"):
        call(data, "modify_pending_order_items", key="run:1:0", **items("#W1", ["101"], ["102"]))
    with pytest.raises(ToolRefused, match="can't be cancelled"):
        call(data, "cancel_pending_order", key="run:1:0", **CANCEL)
    assert call(data, "modify_pending_order_address", key="run:1:0", order_id="#W1", **AWAY)["address"] == AWAY
    with pytest.raises(ToolRefused, match="not paid in one payment"):
        call(data, "modify_pending_order_payment", key="run:2:0", order_id="#W1", payment_method_id="paypal_1")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (items("#W1", ["101"], ["102", "102"]), "There are 1 items and 2 new ones"),
        (items("#W1", ["101"] * 3, ["102"] * 3), "has 2 items '101', not 3"),
        (items("#W1", ["102"], ["101"]), "has 0 items '102', not 1"),
        (items("#W1", ["101"], ["201"]), "'201' is no Mug"),
        (items("#W1", ["101"], ["104"]), "104 is not available"),
        (items("#W1", ["101"], ["103"]), "gift_card_1 has 30.00 left, which doesn't cover 50.00"),
        (items("#W1", ["101"], ["102"], "gift_card_9"), "only gift_card_1, credit_card_1, paypal_1"),
    ],
)
@pytest.mark.parametrize(
    ("name", "number"), [("modify_pending_order_items", "#W1"), ("exchange_delivered_order_items", "#W2")]
)
def test_a_swap_that_is_not_possible_changes_nothing(
    wanted: dict[str, Any], said: str, name: str, number: str, data: Path
) -> None:
    before = state(data / FILE)
    said = said.replace("2 items '101'", "1 items '101'") if number == "#W2" else said
    with pytest.raises(ToolRefused, match=said):
        call(data, name, **wanted | {"order_id": number})
    assert state(data / FILE) == before


def test_another_method_pays_and_the_first_one_gets_its_money_back(data: Path) -> None:
    with pytest.raises(ToolRefused, match="choose another"):
        call(data, "modify_pending_order_payment", order_id="#W3", payment_method_id="gift_card_1")
    with pytest.raises(ToolRefused, match=r"doesn't cover 60.00"):
        call(data, "modify_pending_order_payment", order_id="#W1", payment_method_id="gift_card_1")
    paid = call(data, "modify_pending_order_payment", order_id="#W3", payment_method_id="paypal_1")
    assert paid["status"] == "pending"
    assert bookings(paid)[1:] == [("payment", 10.0, "paypal_1"), ("refund", 10.0, "gift_card_1")]
    assert balance(state(data / FILE)) == 40.0
    cancelled = call(data, "cancel_pending_order", key="run:1:0", order_id="#W3", reason="no longer needed")
    assert bookings(cancelled)[3:] == [("refund", 10.0, "paypal_1")]
    assert balance(state(data / FILE)) == 40.0


def test_returns_and_exchanges_are_asked_for_and_not_yet_paid(data: Path) -> None:
    with pytest.raises(ToolRefused, match="the original payment method, gift_card_1"):
        call(data, "return_delivered_order_items", order_id="#W2", item_ids=["101"], payment_method_id="paypal_1")
    swap = items("#W2", ["201", "101"], ["201", "102"], "paypal_1")
    exchanged = call(data, "exchange_delivered_order_items", **swap)
    assert exchanged["status"] == "exchange requested"
    assert exchanged["exchange_items"] == ["101", "201"]
    assert exchanged["exchange_new_items"] == ["102", "201"]
    assert (exchanged["exchange_payment_method_id"], exchanged["exchange_price_difference"]) == ("paypal_1", 2.5)
    assert [each["item_id"] for each in exchanged["items"]] == ["101", "201"]
    renew(data / FILE, IMAGE)
    back = call(data, "return_delivered_order_items", order_id="#W2", item_ids=["201"], payment_method_id="gift_card_1")
    assert (back["status"], back["return_items"]) == ("return requested", ["201"])
    assert back["return_payment_method_id"] == "gift_card_1"
    assert balance(state(data / FILE)) == 30.0


def test_handing_over_leaves_a_receipt_and_nothing_else(data: Path) -> None:
    before = state(data / FILE)
    call(data, "transfer_to_human_agents", summary="wants a person")
    assert state(data / FILE) == before
    assert receipt(data, "run:0:0", FILE) == {"transferred": True, "summary": "wants a person"}


MOVES = st.sampled_from(
    [
        ("cancel_pending_order", {"order_id": "#W3", "reason": "no longer needed"}),
        ("modify_pending_order_items", items("#W1", ["101"], ["102"])),
        ("modify_pending_order_items", items("#W3", ["101"], ["102"], "gift_card_1")),
        ("modify_pending_order_payment", {"order_id": "#W3", "payment_method_id": "paypal_1"}),
        ("modify_pending_order_payment", {"order_id": "#W3", "payment_method_id": "credit_card_1"}),
        ("exchange_delivered_order_items", items("#W2", ["101"], ["103"], "paypal_1")),
    ]
)


@given(st.lists(MOVES, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_no_money_is_made_or_lost(data: Path, moves: list[tuple[str, dict[str, Any]]]) -> None:
    renew(data / FILE, IMAGE)
    for number, (name, arguments) in enumerate(moves):
        before = state(data / FILE)
        try:
            call(data, name, key=f"run:{number}:0", **arguments)
        except ToolRefused:
            assert state(data / FILE) == before
    found = state(data / FILE)
    booked = 0.0
    for name in ("#W1", "#W2", "#W3"):
        for kind, amount, method in bookings(found["orders", name]):
            if method == "gift_card_1":
                booked += amount if kind == "payment" else -amount
    assert balance(found) + booked == pytest.approx(30.0 + 50.0 + 10.0)


def test_right_actions_lead_to_the_end_state_in_any_order() -> None:
    first = Action(name="cancel_pending_order", arguments=CANCEL)
    second = Action(name="modify_user_address", arguments={"user_id": "ann_poe_1", **AWAY})
    gold = replay(IMAGE, [first, second])
    assert sorted(gold.changed) == ["#W1", "ann_poe_1"]
    assert gold.refused == ()
    assert replay(IMAGE, [second, first]).end == gold.end
    assert replay(IMAGE, []).changed == ()


def test_right_actions_that_are_refused_are_told_and_passed_over() -> None:
    wrong = [
        Action(name="cancel_pending_order", arguments={"order_id": "#W9", "reason": "no longer needed"}),
        Action(name="cancel_pending_order", arguments={"order_id": "#W1"}),
        Action(name="sell_everything"),
    ]
    gold = replay(IMAGE, [*wrong, Action(name="cancel_pending_order", arguments=CANCEL)])
    assert gold.changed == ("#W1",)
    assert [words.split(":")[0] for words in gold.refused] == [action.name for action in wrong]


def test_a_task_is_solved_by_its_end_state_and_what_was_said(data: Path) -> None:
    wanted = Task.model_validate(
        task("x", "You want it.", [("cancel_pending_order", CANCEL)], told=["1,260.50", "Blue"])
    )
    gold = replay(IMAGE, wanted.actions)
    untouched = judge(state(data / FILE), ["It is 1260.50."], gold, wanted)
    assert (untouched.state_right, untouched.told_right, untouched.solved) == (False, False, False)
    assert untouched.problems == (
        "orders #W1: cancel_reason, payment_history, status not as expected",
        "no answer says 'Blue'",
    )
    call(data, "cancel_pending_order", **CANCEL)
    assert judge(state(data / FILE), ["You get $1,260.50.", "It is BLUE."], gold, wanted).solved
    call(data, "modify_user_address", key="run:1:0", user_id="bo_lee_2", **AWAY)
    spoiled = judge(state(data / FILE), ["1260.50, blue"], gold, wanted)
    assert (spoiled.state_right, spoiled.told_right) == (False, True)
    assert spoiled.problems == ("users bo_lee_2: address not as expected",)
