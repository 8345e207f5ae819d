"""``python -m agent audit …``: verifies the audit logs, and changes the key that seals them."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.config import Settings
from agent.serve import factories
from agent.store import StoreJournal
from flightloop.acts import Act, Actor, ActorKind
from flightloop.audit_check import AuditCheck, AuditProblem
from flightloop.errors import ConfigError, NotFound
from guardrails.audit_keys import AuditKey, KeyFile
from guardrails.checkpoints import CheckpointFile

PAGE = 1000
NOT_BEGUN = (
    "no checkpoint was begun in this home, as after an update from a version without them: start the platform once,"
    " which begins them, then verify again; whether records were removed before can't be found"
)
Tell = Callable[[str], None]


async def verify_audit(settings: Settings, tenant_id: str | None, checkpoints: Sequence[Path], tell: Tell) -> bool:
    """Verifies a tenant's audit log, or those of all tenants, and prints what was found.

    Args:
        tenant_id: None: all tenants.
        checkpoints: files of checkpoints; none: the deployment's.

    Returns:
        Whether nothing was found.

    Raises:
        NotFound: the tenant has no audit log.
    """
    journal = factories.open_journal(settings, check_keys=False)
    files = [CheckpointFile(path, settings.audit_keys()) for path in checkpoints or [settings.checkpoints]]
    try:
        return await verify_journal(journal, tenant_id, files, tell)
    finally:
        await journal.close()


async def verify_journal(
    journal: StoreJournal, tenant_id: str | None, files: Sequence[CheckpointFile], tell: Tell
) -> bool:
    """Like ``verify_audit``, for an open journal."""
    begun = await journal.acts.checkpoint_files()
    known = sorted({*await journal.acts.tenants(), *(one for file in files for one in file.read().tenants)})
    if not known and not begun and not any(file.path.exists() for file in files):
        tell("no audit record yet")
        return True
    if tenant_id is not None and tenant_id not in known:
        raise NotFound(f"the tenant {tenant_id} has no audit log; there are those of: {', '.join(known) or 'nobody'}")
    told: set[str] = set()
    wanted = [tenant_id] if tenant_id else known
    intact = [await _verify(journal, one, file, told, tell) for file in files for one in wanted]
    lacking = set(begun) - {last.file for file in files if (last := file.read().last) is not None}
    for name in sorted(lacking):
        tell(
            f"the file of checkpoints {name} is missing, {begun[name]} lines were written to it: name all files, also"
            " those that were moved away, with one --checkpoints each"
        )
    if not begun and not any(file.path.exists() for file in files):
        tell(NOT_BEGUN)
    return all(intact) and not lacking


async def _verify(journal: StoreJournal, tenant_id: str, file: CheckpointFile, told: set[str], tell: Tell) -> bool:
    """Verifies one tenant's log; problems of the checkpoints, which all tenants share, are told once."""
    after: int | None = 0
    records = sealed = problems = 0
    while after is not None:
        part = await journal.acts.check(tenant_id, file.read, after, PAGE)
        records, sealed, problems = records + part.records, sealed + part.sealed, problems + len(part.problems)
        for problem in part.problems:
            line = _line(tenant_id, problem)
            once = line if problem.seq is not None else problem.problem
            if once not in told:
                tell(line)
                told.add(once)
        after = part.next_after
    tell(f"tenant {tenant_id}: {_summary(records, sealed, problems, part)}")
    for note in part.notes:
        if note not in told:
            tell(f"note: {note}")
            told.add(note)
    return not problems


def _line(tenant_id: str, problem: AuditProblem) -> str:
    where = "" if problem.seq is None else f"record {problem.seq}: "
    return f"tenant {tenant_id}: {where}{problem.problem}"


def _summary(records: int, sealed: int, problems: int, last: AuditCheck) -> str:
    counted = f"{records} records" + (f", {records - sealed} of them older than the keys" if sealed < records else "")
    verdict = f"{problems} problems" if problems else "the log is intact"
    if last.checkpoint is None:
        covered = "no checkpoint covers it"
    else:
        covered = f"checkpoint {last.checkpoint.number} of {last.checkpoint.at:%Y-%m-%d %H:%M:%S} UTC covers it"
        covered += f" to record {last.checkpoint.seq}"
    return f"{counted}: {verdict}; {covered}"


async def new_key(settings: Settings, lost: bool, tell: Tell) -> None:
    """Adds a key to the file in the home, which seals from now on, and records it in every log.

    Args:
        lost: whether to begin with a new key although one that sealed records is missing.

    Raises:
        ConfigError: the keys are set in the environment, or one is missing.
    """
    keys = settings.audit_keys()
    if not isinstance(keys, KeyFile):
        raise ConfigError(
            "FLIGHTLOOP_AUDIT_KEY has the keys: add a new one at its end (openssl rand -hex 32), separated by a comma,"
            " and restart all processes"
        )
    journal = factories.open_journal(settings, check_keys=not lost)
    try:
        ring, key = keys.ring(), AuditKey.new()
        keys.add(key)
        details = {"from": ring[-1].id if ring else None, "to": key.id, "lost": lost}
        for tenant_id in await journal.acts.tenants():
            # Even without further acts, records that the older key seals are now noticed.
            await journal.acts.record(tenant_id, Act.AUDIT_KEY_CHANGED, os_user(), key.id, details)
        await factories.make_checkpointer(settings, journal).write()
    finally:
        await journal.close()
    tell(f"the key {key.id} seals audit records from now on; keep a copy of {keys.path}, apart from the database's")


def os_user() -> Actor:
    """The user who runs this command."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # no such user in a container
        name = "unknown"
    return Actor(kind=ActorKind.COMMAND, name=name)
