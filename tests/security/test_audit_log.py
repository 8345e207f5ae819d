"""``python -m agent audit`` and ``policy show``, on a real store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.admin.audits import NOT_BEGUN, new_key, os_user, verify_audit
from agent.admin.policies import show_policy
from agent.config import load_settings
from agent.serve import factories
from bench.guardrails.audited_store import ANN, AuditedStore, audited_store, fill
from bench.guardrails.tampering import finders
from bench.guardrails.tamperings import Tampering, tamperings
from flightloop.acts import Act
from flightloop.errors import ConfigError, NotFound
from guardrails.audit_keys import KeyFile
from guardrails.policy import default_policy


@pytest.fixture(scope="module")
def filled() -> Iterator[AuditedStore]:
    with audited_store() as made:
        asyncio.run(fill(made))
        yield made


@pytest.fixture
def store(filled: AuditedStore) -> AuditedStore:
    """As it was filled."""
    filled.put(filled.earlier[-1])
    return filled


async def lines_of(store: AuditedStore, tenant: str | None = None) -> tuple[bool, list[str]]:
    told: list[str] = []
    return await verify_audit(store.settings, tenant, [], told.append), told


async def test_an_untouched_log_is_intact_and_what_covers_it_is_told(store: AuditedStore) -> None:
    intact, told = await lines_of(store)
    assert intact
    assert told[0].startswith("tenant default: 28 records, 4 of them older than the keys: the log is intact")
    assert "covers it to record 28" in told[0]


async def test_a_log_that_is_not_there_is_not_intact(store: AuditedStore) -> None:
    with pytest.raises(NotFound, match="tenant nobody has no audit log; there are those of: default, other"):
        await lines_of(store, "nobody")
    with store.connect() as database:
        database.execute("DELETE FROM audit")
    store.checkpoints.unlink()
    intact, told = await lines_of(store)
    assert (intact, len(told)) == (False, 1)
    assert "is missing, 7 lines were written to it" in told[0]


async def test_a_home_of_before_the_checkpoints_is_told_how_to_begin_them() -> None:
    with audited_store() as old:
        journal = factories.open_journal(old.settings)
        await journal.acts.record("default", Act.AUDIT_KEY_CHANGED, ANN, "key", {})
        await journal.close()
        intact, told = await lines_of(old)
        assert (intact, told[-1]) == (False, NOT_BEGUN)
        journal = factories.open_journal(old.settings)
        await factories.make_checkpointer(old.settings, journal).write()
        await journal.close()
        intact, told = await lines_of(old)
        assert intact, told
        old.checkpoints.unlink()
        intact, told = await lines_of(old)
        assert not intact
        assert NOT_BEGUN not in told


async def test_a_replaced_file_of_checkpoints_is_missed_until_it_is_named(store: AuditedStore) -> None:
    moved = store.checkpoints.with_name("moved.jsonl")
    store.checkpoints.rename(moved)
    journal = factories.open_journal(store.settings)
    await factories.make_checkpointer(store.settings, journal).write()
    await journal.close()
    intact, told = await lines_of(store)
    assert (intact, "lines were written to it" in told[-1]) == (False, True)
    both: list[str] = []
    assert await verify_audit(store.settings, None, [store.checkpoints, moved], both.append), both


async def test_what_was_found_is_told_with_its_place(store: AuditedStore) -> None:
    with store.connect() as database:
        database.execute("DELETE FROM audit WHERE tenant_id = 'default' AND seq IN (7, 8, 28)")
    store.checkpoints.write_text("".join(store.checkpoints.read_text().splitlines(keepends=True)[:-1]))
    intact, told = await lines_of(store)
    assert not intact
    assert "tenant default: record 9: records 7 to 8 are missing" in told
    assert any("the log ends at record 27, but checkpoint 5" in line for line in told)
    assert sum("lines were removed" in line for line in told) == 1


async def test_a_new_key_is_recorded_in_every_log_and_older_records_still_verify(store: AuditedStore) -> None:
    keys = store.settings.audit_keys()
    before = len(keys.ring())
    told: list[str] = []
    await new_key(store.settings, False, told.append)
    assert len(keys.ring()) == before + 1
    assert keys.ring()[-1].id in told[0]
    assert keys.ring()[-1].secret.hex() not in told[0]
    for tenant in ("default", "other"):
        journal = factories.open_journal(store.settings)
        last = (await journal.audit(tenant, act=Act.AUDIT_KEY_CHANGED))[-1]
        await journal.close()
        assert (last.key_id, last.details["lost"]) == (keys.ring()[-1].id, False)
    assert (await lines_of(store))[0]


async def test_a_platform_without_the_key_does_not_start_and_a_lost_key_is_told(store: AuditedStore) -> None:
    keys = store.settings.audit_keys()
    assert isinstance(keys, KeyFile)
    keys.path.unlink()
    with pytest.raises(ConfigError, match="audit new-key --lost"):
        factories.open_journal(store.settings)
    assert not keys.path.exists()
    with pytest.raises(ConfigError, match="audit new-key --lost"):
        await new_key(store.settings, False, print)
    await new_key(store.settings, True, lambda line: None)
    await factories.open_journal(store.settings).close()
    intact, told = await lines_of(store)
    assert not intact
    assert any("was sealed with the unknown key" in line for line in told)


async def test_keys_of_the_environment_are_not_changed_by_the_command(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", audit_key="ab" * 32)
    with pytest.raises(ConfigError, match="add a new one at its end"):
        await new_key(settings, False, print)
    journal = factories.open_journal(settings)
    await journal.acts.record("default", Act.EXPORT, os_user(), None, {})
    await journal.close()
    assert not (settings.home / "audit-key").exists()


async def test_the_policy_of_a_verdict_is_shown_unless_it_was_changed(store: AuditedStore) -> None:
    told: list[str] = []
    await show_policy(store.settings, default_policy().sha256[:8], told.append)
    assert '"name": "default"' in told[0]
    with pytest.raises(ConfigError, match="no policies"):
        await show_policy(store.settings, "zz", told.append)


@pytest.mark.parametrize(
    "change",
    [
        "document = '{'",
        "document = '" + "[" * 200_000 + "'",
        "document = CAST(x'ff' AS TEXT)",
        "document = json_set(document, '$.key_id', json('[1]'))",
        "document = json_set(document, '$.sha256', json('\"\\ud800\"'))",
        f"seq = {2**62 - 1}",
        f"seq = {2**62 - 2}",
        "seq = 28.5",
    ],
    ids=lambda change: change[:40],
)
async def test_a_stop_works_although_the_last_record_was_made_unreadable(store: AuditedStore, change: str) -> None:
    with closing(sqlite3.connect(store.database, isolation_level=None)) as database:
        database.execute(f"UPDATE audit SET {change} WHERE tenant_id = 'default' AND seq = 28")
    journal = factories.open_journal(store.settings)
    stops = [await journal.raise_interrupt("default", "all") for _ in range(3)]
    assert [one.id for one in await journal.interrupts("default")] == [one.id for one in reversed(stops)]
    await journal.close()
    if "x'ff'" not in change:  # such a text can't be read from the database, which is an error
        intact, told = await lines_of(store)
        assert not intact
        assert any(line.startswith(("tenant default: record", "tenant default: can't be read")) for line in told)


def test_a_random_tampering_is_found_by_the_command_and_the_console(store: AuditedStore) -> None:
    """A sample; ``python -m bench guardrails --rows tampering_missed`` tries all."""

    async def found(case: Tampering) -> dict[str, bool]:
        store.put(store.earlier[-1])
        await case.do(store)
        return await finders(store)

    cases = list(tamperings(store))
    assert len(cases) >= 80

    @settings(max_examples=8, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(cases))
    def tried(case: Tampering) -> None:
        assert asyncio.run(found(case)) == {"command": True, "console": case.seen_by_tenants}, case.name

    tried()
