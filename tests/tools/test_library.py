from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from examples.support.shop.database import FILE
from examples.support.shop.seed import reseed
from tests.shop import SHOP
from tools.knowledge.catalogue import Catalogue, Product
from tools.knowledge.graph import Kind
from tools.knowledge.library import Knowledge, Library, Papers


def test_a_snapshot_keeps_its_prices_and_a_new_product_builds_anew() -> None:
    lamp = Product(1, "Desk Lamp", "home", 1000, 5, 0, False)
    before = Knowledge(Catalogue([lamp]), Papers([]))
    assert "10.00 EUR" in before.search.find("desk lamp", 1)[0].text
    after = before.followed_by(Catalogue([replace(lamp, price_cents=2000)]))
    assert [each.search.find("desk lamp", 1)[0].text[:20] for each in (before, after)] == [
        "Desk Lamp: 10.00 EUR",
        "Desk Lamp: 20.00 EUR",
    ]
    assert after.names is before.names
    for other in (replace(lamp, id=2), replace(lamp, name="Red Lamp"), replace(lamp, warranty_months=12)):
        assert after.followed_by(Catalogue([other])).names is not before.names
    assert after.followed_by(Catalogue([lamp], [("carrier", "Red Wheels")])).names is not before.names


@pytest.fixture
def own(tmp_path: Path) -> Path:
    reseed(tmp_path / FILE)
    return tmp_path


def test_changes_of_the_shop_are_seen(own: Path) -> None:
    library = Library(own, SHOP)
    before = library.current()
    assert library.current() is before
    with closing(sqlite3.connect(own / FILE)) as database:
        database.execute("UPDATE products SET price_cents = 4200, stock = 1234567 WHERE name = 'Desk Lamp'")
        database.commit()
    assert "42.00 EUR, 1234567 in stock" in library.search("desk lamp", 3)[0].text
    assert library.current().papers is before.papers


def test_changes_of_a_database_with_a_log_of_its_writes_are_seen(own: Path) -> None:
    with closing(sqlite3.connect(own / FILE)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        library = Library(own, SHOP)
        library.current()
        database.execute("UPDATE products SET price_cents = 4200 WHERE name = 'Desk Lamp'")
        database.commit()
        assert "42.00 EUR" in library.search("desk lamp", 3)[0].text


def test_a_change_that_is_none_of_products_rebuilds_nothing(own: Path) -> None:
    library = Library(own, SHOP)
    before = library.current()
    with closing(sqlite3.connect(own / FILE)) as database:
        database.execute("UPDATE orders SET status = 'cancelled' WHERE id = (SELECT min(id) FROM orders)")
        database.commit()
    assert library.current() is before


def test_what_cannot_be_read_keeps_what_was(own: Path) -> None:
    library = Library(own, SHOP)
    before = library.current()
    (own / FILE).write_bytes(b"no database at all" * 100)
    assert library.current() is before
    with pytest.raises(sqlite3.DatabaseError):
        Library(own, SHOP).current()


def test_documents_alone_are_enough(tmp_path: Path) -> None:
    library = Library(tmp_path, SHOP)
    assert library.current().graph.nodes(Kind.PRODUCT) == []
    (stated,) = library.statements("Express shipping costs 4.90 EUR.")
    assert not stated.right
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("CREATE TABLE products (sku TEXT)")  # another shop's
        database.commit()
    assert library.current().graph.nodes(Kind.PRODUCT) == []
