"""``python -m agent erase``: erases a person, a session, or runs that are older than a number of days."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agent.admin.audits import os_user
from agent.config import Settings
from agent.erasing.eraser import Told
from agent.run.erasure import ErasureFilter
from agent.serve import factories
from flightloop.erasure import ErasureReport
from flightloop.errors import ConfigError

_DAYS = re.compile(r"([1-9]\d{0,4})d?")
DEFAULT = "default"


@dataclass(frozen=True)
class Wish:
    """Options of the command."""

    subject: str | None = None
    session: str | None = None
    older_than: str | None = None
    tenant: str | None = None
    dry_run: bool = False
    end_runs: bool = False
    compact: bool = True

    def filter(self, now: datetime) -> ErasureFilter:
        """Raises ConfigError."""
        if sum(one is not None for one in (self.subject, self.session, self.older_than)) != 1:
            raise ConfigError("give exactly one of --subject ID, --session ID and --older-than 90d")
        if self.older_than is None:
            return ErasureFilter(self.tenant or DEFAULT, self.subject, self.session)
        if (days := _DAYS.fullmatch(self.older_than)) is None:
            raise ConfigError(f"--older-than: {self.older_than!r} is not a number of days: write 90d, for example")
        return ErasureFilter(self.tenant, before=now - timedelta(days=int(days[1])))


async def erase_content(settings: Settings, wish: Wish, say: Callable[[str], None]) -> bool:
    """Erases, and prints what was erased and what is out of reach. Returns whether nothing is left to do.

    Raises:
        ConfigError: the options contradict each other.
        Conflict: runs have not ended.
    """
    wanted = wish.filter(datetime.now(UTC))
    journal = factories.open_journal(settings)
    try:
        eraser = factories.make_eraser(settings, journal)
        if wish.dry_run:
            report = await eraser.count(wanted)
        else:
            with _progress() as told:
                report = await eraser.erase(wanted, os_user(), end_runs=wish.end_runs, whole=wish.compact, told=told)
            await factories.make_checkpointer(settings, journal).write()
    finally:
        await journal.close()
    _print(report, say)
    return not report.problems


def _print(report: ErasureReport, say: Callable[[str], None]) -> None:
    would = "would be erased" if report.dry_run else "erased"
    say(f"{report.runs} runs {would}; {report.lines} lines of traces and logs; {report.rows} rows of data sets")
    if report.open_runs:
        say(f"not ended: {', '.join(report.open_runs)}; --end-runs cancels them")
    if not report.dry_run:
        say(f"{report.answers} stored responses, {report.stops} stops, {report.keys} bound keys")
    if report.record:
        say(f"in the audit log as: {report.record}")
    for problem in report.problems:
        say(f"left: {problem}")
    for place in report.out_of_reach:
        say(f"out of reach: {place}")


@contextmanager
def _progress() -> Iterator[Told]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None)

        def told(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield told
