from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from examples.support import tools as shop
from examples.support.shop.database import FILE, receipt
from examples.support.shop.seed import CUSTOMERS, FIRST_ORDER, ORDERS, reseed
from flightloop.tool import Effect, ToolContext, ToolRefused, tool_of

PROCESSING, DELIVERED, LARGE, OLD, FINAL_SALE, LOST, ON_ITS_WAY = 10073, 10052, 10416, 10003, 10066, 10530, 10381


def context(data: Path, key: str = "run:0:0") -> ToolContext:
    return ToolContext(key, "default", "support", "session-1", "run", data)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    reseed(tmp_path / FILE)
    return tmp_path


def rows(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(data / FILE)) as database:
        return database.execute(sql).fetchall()


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


def test_the_seed_gives_the_same_shop_each_time(tmp_path: Path) -> None:
    reseed(tmp_path / "a.db")
    reseed(tmp_path / "sub" / "b.db")
    assert dump(tmp_path / "a.db") == dump(tmp_path / "sub" / "b.db")


def test_the_seeded_shop_is_consistent(data: Path) -> None:
    assert rows(data, "PRAGMA integrity_check") == [("ok",)]
    assert rows(data, "PRAGMA foreign_key_check") == []
    assert rows(data, "SELECT COUNT(*) FROM customers") == [(CUSTOMERS,)]
    assert rows(data, "SELECT COUNT(*) FROM orders") == [(ORDERS,)]
    assert rows(data, "SELECT COUNT(*) FROM products") == [(40,)]
    counts = dict(rows(data, "SELECT status, COUNT(*) FROM orders GROUP BY status"))
    assert min(counts.values()) > 20
    assert len(counts) == 4
    states = dict(rows(data, "SELECT status, COUNT(*) FROM deliveries GROUP BY status"))
    assert len(states) == 5
    assert min(states.values()) >= 10
    wrong_total = """SELECT id FROM orders WHERE total_cents !=
        (SELECT SUM(quantity * price_cents) FROM order_items WHERE order_id = orders.id)"""
    assert rows(data, wrong_total) == []
    late = """SELECT id FROM orders, settings
        WHERE settings.name = 'today' AND MAX(placed_on, COALESCE(delivered_on, '')) > value"""
    assert rows(data, late) == []
    assert rows(data, "SELECT COUNT(*) FROM receipts") == [(0,)]


def test_a_reseed_undoes_everything_while_others_read(data: Path) -> None:
    fresh = dump(data / FILE)
    seen: set[int] = set()
    problems: list[Exception] = []
    done = threading.Event()

    def read() -> None:
        with closing(sqlite3.connect(f"{(data / FILE).as_uri()}?mode=ro", uri=True, timeout=30)) as database:
            while not done.is_set():
                try:
                    seen.add(database.execute("SELECT COUNT(*) FROM orders").fetchone()[0])
                except sqlite3.Error as error:
                    problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(20):
            shop.cancel_order(context(data, f"run:{number}:0"), PROCESSING)
            reseed(data / FILE)
    finally:
        done.set()
        reader.join()
    assert problems == []
    assert seen == {ORDERS}
    assert dump(data / FILE) == fresh


def test_customers_are_found_by_email_and_name(data: Path) -> None:
    by_email = shop.find_customer(context(data), "Jonas.Petrov@example.com")
    (by_name,) = shop.find_customer(context(data), "jonas petrov")
    assert by_email == [{**by_name, "email": "jonas.petrov@example.com"}]
    assert by_email[0]["name"] == "Jonas Petrov"
    orders = shop.list_orders(context(data), by_email[0]["customer_id"])
    assert [order["order_id"] for order in orders] == [PROCESSING]
    with pytest.raises(ToolRefused, match="No customer matches"):
        shop.find_customer(context(data), "nobody@example.com")
    with pytest.raises(ToolRefused, match="Too many customers"):
        shop.find_customer(context(data), "a")
    with pytest.raises(ToolRefused, match="no customer 1"):
        shop.list_orders(context(data), 1)


def test_orders_and_deliveries_are_shown(data: Path) -> None:
    order = shop.get_order(context(data), DELIVERED)
    assert order["items"] == ["1 x Running Shoes"]
    assert order["total"] == "109.90 EUR"
    assert shop.delivery_status(context(data), DELIVERED)["delivered_on"] == order["delivered_on"]
    assert shop.delivery_status(context(data), LOST)["status"] == "lost"
    assert shop.delivery_status(context(data), PROCESSING)["why"] == "It has not shipped yet."
    with pytest.raises(ToolRefused, match="no order 1"):
        shop.get_order(context(data), 1)


def test_cancelling_pays_back_and_restocks(data: Path) -> None:
    stock = "SELECT SUM(stock) FROM products"
    before = rows(data, stock)[0][0]
    result = shop.cancel_order(context(data), PROCESSING)
    assert result["refunded"] == "179.80 EUR"
    assert rows(data, f"SELECT status FROM orders WHERE id = {PROCESSING}") == [("cancelled",)]
    assert rows(data, f"SELECT amount_cents FROM refunds WHERE order_id = {PROCESSING}") == [(17980,)]
    assert rows(data, stock)[0][0] == before + 2


@pytest.mark.parametrize(
    ("order", "amount", "said"),
    [
        (OLD, 0, "84 days ago. Refunds are possible within 30 days"),
        (FINAL_SALE, 0, "final-sale"),
        (LARGE, 0, "refunds over 200.00 EUR need a person"),
        (DELIVERED, 0.004, "smallest amount is 0.01 EUR"),
        (DELIVERED, 109.91, "at most 109.90 EUR can be refunded, not 109.91 EUR"),
        (PROCESSING, 0, "Cancel it instead"),
        (ON_ITS_WAY, 0, "is on its way"),
        (10059, 0, "was refunded in full already"),
        (7, 0, "There is no order 7"),
    ],
)
def test_a_refund_against_the_rules_is_refused_and_leaves_nothing(
    order: int, amount: float, said: str, data: Path
) -> None:
    before = dump(data / FILE)
    with pytest.raises(ToolRefused, match=said):
        shop.refund_order(context(data), order, "because", amount)
    assert dump(data / FILE) == before


def test_the_return_window_is_counted_from_the_shops_today(data: Path) -> None:
    last_day = date.fromisoformat(rows(data, "SELECT value FROM settings WHERE name = 'today'")[0][0])
    on_the_last_day, too_late = last_day.toordinal() - 30, last_day.toordinal() - 31
    sql = "UPDATE orders SET delivered_on = ? WHERE id = ?"
    with closing(sqlite3.connect(data / FILE)) as database, database:
        database.execute(sql, (date.fromordinal(on_the_last_day).isoformat(), DELIVERED))
        database.execute(sql, (date.fromordinal(too_late).isoformat(), 10346))
    assert shop.refund_order(context(data), DELIVERED, "unhappy")["refunded"] == "109.90 EUR"
    with pytest.raises(ToolRefused, match="31 days ago"):
        shop.refund_order(context(data, "run:1:0"), 10346, "unhappy")


@pytest.mark.parametrize("amount", [0, 5, 20.5])
def test_a_preview_tells_what_a_refund_then_does(data: Path, amount: float) -> None:
    told = shop.preview_refund(context(data), DELIVERED, amount)
    assert rows(data, "SELECT COUNT(*) FROM receipts") == [(0,)]
    done = shop.refund_order(context(data), DELIVERED, "broken", amount)
    assert told["pays"] == f"{done['refunded']} to {done['to']} for order {DELIVERED}"
    after = shop.get_order(context(data), DELIVERED)
    assert told["refunded of this order"] == f"0.00 EUR -> {after['refunded']}, of {after['total']}"


def test_a_preview_tells_what_a_cancellation_then_does(data: Path) -> None:
    told = shop.preview_cancellation(context(data), PROCESSING)
    items = shop.get_order(context(data), PROCESSING)["items"]
    done = shop.cancel_order(context(data), PROCESSING)
    assert told == {
        "status": f"processing -> {done['status']}",
        "back in stock": ", ".join(items),
        "pays": f"{done['refunded']} to {done['to']}",
    }


@pytest.mark.parametrize("order", [LARGE, OLD, FINAL_SALE, ON_ITS_WAY, PROCESSING])
def test_a_preview_refuses_what_the_refund_refuses(data: Path, order: int) -> None:
    with pytest.raises(ToolRefused) as refused:
        shop.refund_order(context(data), order, "broken", 0)
    with pytest.raises(ToolRefused) as previewed:
        shop.preview_refund(context(data), order, 0)
    assert str(previewed.value) == str(refused.value)


def test_a_lost_order_is_paid_back(data: Path) -> None:
    assert shop.refund_order(context(data), LOST, "lost")["refunded"] == "44.90 EUR"


def test_shipped_and_cancelled_orders_stay_as_they_are(data: Path) -> None:
    for order in (ON_ITS_WAY, DELIVERED, 10025):
        with pytest.raises(ToolRefused, match="can't be cancelled"):
            shop.cancel_order(context(data), order)
        with pytest.raises(ToolRefused, match="can't be sent to another address"):
            shop.change_address(context(data), order, "1 Oak Street, Graz 8010")
    for address in ("somewhere nice", "12, 8001 Zürich", "上海 100"):
        with pytest.raises(ToolRefused, match="incomplete"):
            shop.change_address(context(data), PROCESSING, address)
    assert rows(data, "SELECT COUNT(*) FROM receipts") == [(0,)]


def test_the_same_key_returns_the_receipt_and_does_nothing_again(data: Path) -> None:
    assert receipt(data, "run:0:0") is None
    first = shop.refund_order(context(data), DELIVERED, "too small", 10.0)
    after = dump(data / FILE)
    assert shop.refund_order(context(data), DELIVERED, "too small", 10.0) == first
    assert receipt(data, "run:0:0") == first
    assert dump(data / FILE) == after
    with pytest.raises(ToolRefused, match="used for another call"):
        shop.refund_order(context(data), DELIVERED, "too small", 11.0)
    with pytest.raises(ToolRefused, match="used for another call"):
        shop.hand_over(context(data), "anything")


def test_refunds_at_once_never_exceed_the_total(data: Path) -> None:
    results: list[str] = []

    def pay(number: int) -> None:
        try:
            results.append(shop.refund_order(context(data, f"run:{number}:0"), DELIVERED, "broken", 50.0)["refunded"])
        except ToolRefused as refusal:
            results.append(str(refusal)[:14])

    threads = [threading.Thread(target=pay, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["50.00 EUR"] * 2 + ["Order 10052: a"] * 4


def test_even_plain_sql_cannot_pay_back_twice(data: Path) -> None:
    shop.refund_order(context(data), DELIVERED, "broken")
    with closing(sqlite3.connect(data / FILE)) as database, pytest.raises(sqlite3.IntegrityError, match="exceed"):
        database.execute("INSERT INTO refunds VALUES (NULL, ?, 1, 'again', '2026-03-01')", (DELIVERED,))


def test_a_handover_is_open_and_knows_its_session(data: Path) -> None:
    shop.hand_over(context(data), "wants a person")
    shop.hand_over(context(data, "run:1:0"), "wants a person", DELIVERED)
    found = rows(data, "SELECT order_id, session_id FROM handovers WHERE status = 'open' ORDER BY id")
    assert found == [(None, "session-1"), (DELIVERED, "session-1")]


@pytest.mark.parametrize("again", [DELIVERED, 0])
def test_a_case_that_a_person_has_is_not_handed_over_again(data: Path, again: int) -> None:
    first = shop.hand_over(context(data), "arrived broken", DELIVERED)
    second = shop.hand_over(context(data, "run:1:0"), "wants another one", again)
    assert second["handover"] == first["handover"]
    assert "already" in second["status"]
    assert len(rows(data, "SELECT id FROM handovers WHERE session_id = 'session-1'")) == 1


def test_another_conversation_about_the_order_is_handed_over(data: Path) -> None:
    shop.hand_over(context(data), "arrived broken", DELIVERED)
    later = replace(context(data, "run:1:0"), session_id="session-2")
    assert "already" not in shop.hand_over(later, "arrived broken", DELIVERED)["status"]


def test_without_a_shop_the_tools_say_so(tmp_path: Path) -> None:
    with pytest.raises(ToolRefused, match="no shop database"):
        shop.get_order(context(tmp_path), DELIVERED)
    assert list(tmp_path.iterdir()) == []


def test_every_write_is_transactional_and_every_description_short() -> None:
    for function in shop.TOOLS:
        declared = tool_of(function)
        assert declared is not None
        writes = declared.spec.name in {"cancel_order", "refund_order", "change_address", "hand_over"}
        assert declared.spec.effect is (Effect.TRANSACTIONAL if writes else Effect.PURE)
        assert len(declared.spec.description) <= 80
        assert len(declared.spec.parameters["properties"]) <= 3


class Refunds(RuleBasedStateMachine):
    """Any sequence of refunds and cancellations, some of them repeated with an old key."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        reseed(self.folder / FILE)
        self._done: dict[str, tuple[int, float]] = {}

    @rule(order=st.sampled_from([PROCESSING, DELIVERED, LOST, 10346]), amount=st.sampled_from([0, 10.0, 60.0, 500.0]))
    def refund(self, order: int, amount: float) -> None:
        key = f"run:{len(self._done)}:0"
        self._done[key] = (order, amount)
        self._attempt(key, order, amount)

    @rule(index=st.integers(0, 20))
    def again(self, index: int) -> None:
        """A repeated call changes nothing if it had its effect."""
        key = f"run:{index}:0"
        if key in self._done and receipt(self.folder, key) is not None:
            before = dump(self.folder / FILE)
            self._attempt(key, *self._done[key])
            assert dump(self.folder / FILE) == before

    @rule(order=st.sampled_from([PROCESSING, DELIVERED]))
    def cancel(self, order: int) -> None:
        try:
            shop.cancel_order(context(self.folder, f"cancel:{order}"), order)
        except ToolRefused:
            assert order == DELIVERED

    @invariant()
    def nobody_gets_more_than_was_paid(self) -> None:
        over = """SELECT order_id FROM refunds JOIN orders ON orders.id = order_id
            GROUP BY order_id HAVING SUM(amount_cents) > total_cents"""
        assert rows(self.folder, over) == []

    def _attempt(self, key: str, order: int, amount: float) -> None:
        try:
            shop.refund_order(context(self.folder, key), order, "broken", amount)
        except ToolRefused:
            return


def test_refunds_in_any_order(tmp_path: Path) -> None:
    machine = type("RefundsHere", (Refunds,), {"folder": tmp_path})
    machine.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
    machine.TestCase("runTest").runTest()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(query=st.text(min_size=2, max_size=80))
def test_no_text_breaks_the_search_for_customers(query: str, data: Path) -> None:
    try:
        found = shop.find_customer(context(data), query)
    except ToolRefused:
        return
    assert 1 <= len(found) <= shop.MOST_CUSTOMERS
    assert found[0]["customer_id"] < FIRST_ORDER
