"""``python -m agent dataset export``: exports runs as training data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.admin.audits import os_user
from agent.config import Settings
from agent.lessons.export import Exporter, pairs
from agent.serve import factories
from flightloop import private
from flightloop.acts import Act
from flightloop.errors import ConfigError


@dataclass(frozen=True)
class Wanted:
    """Selects runs to export. ``rated``: only runs with a good outcome or a good rating by the customer."""

    tenant_id: str = "default"
    agent: str | None = None
    rated: bool = False


async def export_runs(
    settings: Settings, wanted: Wanted, out: Path, pairs_out: Path | None, tell: Callable[[str], None]
) -> None:
    """Writes good runs as training rows and, with ``pairs_out``, preferences between runs of the same input.

    Raises:
        ConfigError: the project or a file is unusable.
    """
    journal = factories.open_journal(settings)
    try:
        details = {"agent": wanted.agent, "rated": wanted.rated, "pairs": str(pairs_out) if pairs_out else None}
        await journal.acts.record(wanted.tenant_id, Act.EXPORT, os_user(), str(out), details)
        await factories.make_checkpointer(settings, journal).write()
        exporter = Exporter(journal, factories.read_project(settings), wanted.tenant_id)
        samples = [sample async for sample in exporter.samples(wanted.agent)]
    finally:
        await journal.close()
    good = [sample.data() for sample in samples if sample.learnable and (sample.good or not wanted.rated)]
    write_private(out, good)
    tell(f"{len(good)} of {len(samples)} ended runs in {out}")
    if pairs_out is not None:
        found = pairs(samples)
        write_private(pairs_out, found)
        tell(f"{len(found)} pairs in {pairs_out}")


def write_private(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Writes rows as JSON lines that only this user can read, since they contain what users wrote.

    Raises:
        ConfigError: the file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8", opener=private.opener) as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
