"""A tenant may create many keys: looking one up, listing and revoking them stays as fast, and there is a limit."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import agent.store.keys
from agent.store import StoreJournal, memory_journal, sql_journal
from agent.store.sql.connection import Connection
from flightloop.errors import Conflict, NotFound
from flightloop.keys import ApiKey

MANY = 300


def key(number: int, tenant_id: str = "other") -> ApiKey:
    return ApiKey(
        id=f"key_{number}", tenant_id=tenant_id, name="x", role="viewer", created_at=datetime.now(UTC), created_by="x"
    )


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = memory_journal() if request.param == "memory" else sql_journal(f"sqlite:///{tmp_path / 'journal.db'}")
    yield made
    await made.close()


async def fill(journal: StoreJournal, count: int = MANY) -> None:
    for number in range(count):
        await journal.keys.add(key(number), f"{number:064}")


async def test_no_request_reads_all(journal: StoreJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(journal)
    read: list[int] = []
    rows = Connection.rows

    def counted(self: Connection, *args: Any, **given: Any) -> list[tuple[Any, ...]]:
        found = rows(self, *args, **given)
        read.append(len(found))
        return found

    monkeypatch.setattr(Connection, "rows", counted)
    with pytest.raises(NotFound):
        await journal.keys.revoke("other", "nope")
    assert (await journal.keys.revoke("other", "key_7")).revoked_at is not None
    page = await journal.keys.page("other", None, 5)
    assert [one.id for one in page.data] == [f"key_{MANY - one}" for one in range(1, 6)]
    assert max(read, default=0) <= 6, "rows of the largest result"


async def test_pages_follow_each_other(journal: StoreJournal) -> None:
    await fill(journal, 7)
    await journal.keys.add(key(99, "third"), "9" * 64)
    found, after = [], None
    while True:
        page = await journal.keys.page("other", after, 3)
        found += [one.id for one in page.data]
        if (after := page.next_after) is None:
            break
    assert found == [f"key_{number}" for number in reversed(range(7))]
    for stranger in ("nope", "key_99"):
        with pytest.raises(NotFound, match=stranger):
            await journal.keys.page("other", stranger, 3)


async def test_a_key_of_another_tenant_is_not_revoked(journal: StoreJournal) -> None:
    await fill(journal, 1)
    with pytest.raises(NotFound):
        await journal.keys.revoke("third", "key_0")


async def test_a_tenant_has_so_many(journal: StoreJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent.store.keys, "MOST_KEYS", 3)
    await fill(journal, 3)
    with pytest.raises(Conflict, match="can have 3 keys"):
        await journal.keys.add(key(4), "4" * 64)
    await journal.keys.add(key(5, "third"), "5" * 64)
    await journal.keys.revoke("other", "key_1")
    await journal.keys.revoke("third", "key_5")
    await journal.keys.add(key(4), "4" * 64)  # the revoked one makes room
    assert [one.id for one in (await journal.keys.page("other", None, 9)).data] == ["key_4", "key_2", "key_0"]
    with pytest.raises(Conflict):
        await journal.keys.add(key(6), "6" * 64)


async def test_a_name_revokes_nothing(journal: StoreJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent.store.keys, "MOST_KEYS", 1)
    await journal.keys.add(key(1).model_copy(update={"name": '"revoked_at":"x'}), "1" * 64)
    with pytest.raises(Conflict):
        await journal.keys.add(key(2), "2" * 64)
