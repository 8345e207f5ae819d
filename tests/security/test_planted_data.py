"""The worker reads the folder in which tools write: what they plant there leads nowhere and holds nothing up."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from agent.config import Settings
from agent.serve.factories import LOOKUP, seed_data
from agent.serve.home import open_home
from examples.support.shop.database import FILE
from examples.support.shop.seed import reseed
from flightloop.tool import ToolContext
from tests.security.conftest import KEY
from tests.shop import SHOP
from tools.config import ToolsConfig
from tools.describe import LoadedTools, load_tools
from tools.host import ToolHosts
from tools.knowledge.catalogue import MOST_PRODUCTS
from tools.knowledge.graph import Kind
from tools.knowledge.library import Knowledge, Library
from tools.sandbox.identity import share

COLUMNS = "id, name, category, price_cents, stock, warranty_months, final_sale"
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS payment, x AS carrier FROM n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With a key, and a data folder in which there is a shop and a document."""
    home = tmp_path / "home"
    open_home(home)
    (home / "key").write_text(KEY)
    (home / "key").chmod(0o600)
    reseed(home / "data" / FILE)
    (home / "data" / "documents").mkdir()
    (home / "data" / "documents" / "returns.md").write_text("# Returns\n\nReturns are possible within 44 days.")
    return home


def builtin() -> LoadedTools:
    return load_tools(["tools.builtin"], ToolsConfig(), SHOP)


def in_time(read: Callable[[], Any]) -> Any:
    """What is read in another thread, which must be done soon."""
    got: list[Any] = []
    thread = Thread(target=lambda: got.append(read()), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "reading never ends"
    return got[0]


def link_to_key(documents: Path) -> None:
    (documents / "link.md").symlink_to(documents.parent.parent / "key")


def link_to_zeros(documents: Path) -> None:
    (documents / "link.md").symlink_to("/dev/zero")


def pipe(documents: Path) -> None:
    os.mkfifo(documents / "pipe.md")


def folder(documents: Path) -> None:
    (documents / "folder.md").mkdir()


def huge(documents: Path) -> None:
    with open(documents / "huge.md", "w") as file:
        file.truncate(8 << 30)


def countless(documents: Path) -> None:
    for number in range(3000):
        (documents / f"z{number}.md").write_text("A line.")


def no_text(documents: Path) -> None:
    (documents / "bytes.md").write_bytes(bytes(range(256)))


def deep(documents: Path) -> None:
    """As a program makes it: by names that no path could hold."""
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(documents)
        for _ in range(2500):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.fchdir(before)
        os.close(before)


@pytest.mark.parametrize("plant", [link_to_key, link_to_zeros, pipe, folder, huge, countless, no_text, deep])
def test_planted_documents_are_passed_over(home: Path, plant: Callable[[Path], None]) -> None:
    plant(home / "data" / "documents")
    try:
        open_home(home)
        share(home / "data", os.getegid())
        known = in_time(Library(home / "data", SHOP).current)
    finally:
        if plant is deep:
            os.system(f"rm -rf '{home / 'data' / 'documents' / 'd'}'")
    texts = [passage.text for passage in known.papers.passages]
    assert "Returns are possible within 44 days." in texts
    assert not any(KEY in text for text in texts)
    assert len(texts) <= 1001
    assert len(known.graph.nodes()) > 50


def test_a_folder_of_documents_that_is_a_link_is_not_followed(home: Path) -> None:
    (home / "papers").mkdir()
    (home / "papers" / "own.md").write_text(f"# Own\n\n{KEY}")
    (home / "data" / "documents").rename(home / "data" / "gone")
    (home / "data" / "documents").symlink_to(home / "papers")
    assert not any(KEY in passage.text for passage in in_time(Library(home / "data", SHOP).current).papers.passages)


def test_a_document_that_becomes_something_else_keeps_what_was(home: Path) -> None:
    library = Library(home / "data", SHOP)
    before = library.current()
    document = home / "data" / "documents" / "returns.md"
    document.unlink()
    document.symlink_to(home / "key")
    (home / "data" / "documents" / "new.md").write_text("# New\n\nIt is new.")
    texts = [passage.text for passage in in_time(library.current).papers.passages]
    assert texts == ["It is new."]
    assert before.papers.passages[0].text == "Returns are possible within 44 days."


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "garbage"])
def test_a_shop_that_is_no_database_is_none(home: Path, kind: str) -> None:
    shop = home / "data" / FILE
    shop.unlink()
    if kind == "link":
        reseed(home / "private.db")
        shop.symlink_to(home / "private.db")
    elif kind == "pipe":
        os.mkfifo(shop)
    elif kind == "folder":
        shop.mkdir()
    else:
        shop.write_bytes(os.urandom(8192))
        with pytest.raises(sqlite3.DatabaseError, match="not a database"):
            in_time_or_raise(home)
        return
    known = in_time(Library(home / "data", SHOP).current)
    assert not [node for node in known.graph.nodes() if node.name == "Visa"]


def in_time_or_raise(home: Path) -> Knowledge:
    return Library(home / "data", SHOP).current()


@pytest.mark.parametrize(
    "change",
    [
        f"DROP TABLE orders; CREATE VIEW orders AS {ENDLESS}",
        f"DROP TABLE products; CREATE TABLE products ({COLUMNS});"
        " INSERT INTO products VALUES (1, x'00ff', NULL, 'dear', 'x', x'', 'no'), ('two', 1, 1, 1, 1, 1, 1)",
        f"DELETE FROM products; INSERT INTO products ({COLUMNS}) WITH RECURSIVE n(x) AS"
        " (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000) SELECT x, x, x, 1, 1, 1, 0 FROM n",
    ],
)
def test_a_hostile_shop_is_read_within_limits(home: Path, change: str) -> None:
    with closing(sqlite3.connect(home / "data" / FILE)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.executescript(change)
    known = in_time(Library(home / "data", SHOP).current)
    assert len([node for node in known.graph.nodes() if node.kind is Kind.PRODUCT]) <= MOST_PRODUCTS


SLOW = """
DROP TABLE products; CREATE TABLE products (id, name, category, price_cents, stock, final_sale, big,
  warranty_months GENERATED ALWAYS AS (instr(hex(zeroblob(big)), 'no') + instr(hex(zeroblob(big + 1)), 'no')));
INSERT INTO products (id, name, category, price_cents, stock, final_sale, big)
  WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 500) SELECT x, x, x, 1, 1, 0, 500000 FROM n;
"""


async def test_a_shop_that_is_dear_to_read_holds_nobody_up(home: Path) -> None:
    """It is read in the sandbox of a tool: answers do without the facts, and others' tools end at once."""
    with closing(sqlite3.connect(home / "data" / FILE)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.executescript(SLOW)
    context = ToolContext("run:facts", "default", "support", "s", "run", home / "data", ())
    async with ToolHosts(builtin(), ToolsConfig(spare=0), home / "data") as hosts:
        other = asyncio.create_task(
            hosts.call("run_python", {"code": "while True: pass"}, replace(context, run_id="b"))
        )
        facts = LOOKUP.facts(hosts, context)
        told = await asyncio.gather(*(facts("The lamp costs 41.00 EUR.", "") for _ in range(4)))
        assert list(map(list, told)) == [[]] * 4
        await hosts.kill("b")
        assert (await other).killed
        await hosts.kill("run")


async def test_facts_are_told_by_the_tool(home: Path) -> None:
    context = ToolContext("run:facts", "default", "support", "s", "run", home / "data", ())
    async with ToolHosts(builtin(), ToolsConfig(spare=0), home / "data") as hosts:
        await hosts.call("check_facts", {"text": "warm"}, context)
        said = "The Desk Lamp costs 41.00 EUR. Returns are possible within 44 days."
        wrong, right = await LOOKUP.facts(hosts, context)(said, "")
        assert (wrong.right, said[wrong.start : wrong.end]) == (False, "41.00 EUR")
        assert "39.90" in wrong.fact
        assert right.right


LOCKS = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_locked_shop_keeps_what_was(home: Path) -> None:
    library = Library(home / "data", SHOP)
    before = library.current()
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCKS, str(home / "data" / FILE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    os.utime(home / "data" / FILE)
    assert in_time(library.current) is before
    holder.communicate()
    with closing(sqlite3.connect(home / "data" / FILE)) as database, database:
        database.execute("UPDATE products SET stock = stock + 1")
    assert in_time(library.current) is not before


@pytest.mark.parametrize("beside", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "huge"])
def test_what_lies_beside_a_shop_is_not_opened_by_the_database(home: Path, beside: str, kind: str) -> None:
    shop, other = home / "data" / FILE, home / "data" / f"{FILE}{beside}"
    if beside != "-journal":
        with closing(sqlite3.connect(shop)) as database:
            database.execute("PRAGMA journal_mode = WAL")
    other.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(other)
    elif kind == "link":
        other.symlink_to(home / "made")
    elif kind == "folder":
        other.mkdir()
    else:
        with open(other, "wb") as file:
            file.truncate(8 << 30)
    try:
        in_time_or_error(home)
    finally:
        assert not (home / "made").exists()


def test_a_journal_that_names_another_file_removes_nothing(home: Path) -> None:
    """What SQLite finds beside a database it takes for an unfinished write, and ends it."""
    key = home / "key"
    name = str(key).encode()
    with open(home / "data" / f"{FILE}-journal", "wb") as journal:
        journal.write(bytes.fromhex("d9d505f920a163d7") + bytes(504))
        journal.write(name + len(name).to_bytes(4, "big") + (sum(name) & 0xFFFFFFFF).to_bytes(4, "big"))
        journal.write(bytes.fromhex("d9d505f920a163d7"))
    in_time_or_error(home)
    assert key.read_text() == KEY


def in_time_or_error(home: Path) -> None:
    """Reads in another thread: soon, or not at all."""

    def read() -> Knowledge | None:
        try:
            return Library(home / "data", SHOP).current()
        except (OSError, sqlite3.Error):
            return None

    in_time(read)


@pytest.mark.parametrize("target", ["key", "made"])
def test_a_shop_is_not_seeded_through_a_link(tmp_path: Path, target: str) -> None:
    settings = Settings(home=tmp_path / "home")
    open_home(settings.home)
    (settings.home / "key").write_text(KEY)
    (settings.home / "key").chmod(0o600)
    (settings.data / FILE).symlink_to(settings.home / target)
    seed_data(settings)
    assert (settings.home / "key").read_text() == KEY
    assert not (settings.home / "made").exists()
