"""Lists the places with content of runs that an erasure can't reach."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.erasing.places import Places
from agent.run.acts import DEPLOYMENT
from agent.run.journal import Journal
from flightloop.acts import Act

ALWAYS = (
    "backups and copies of the database and of the home",
    "data of the project's own tools, and what they sent to others",
    "completions without a run: their texts are not stored, but the reasons of their verdicts are, without a subject",
)


@dataclass(frozen=True)
class Receivers:
    """Programs elsewhere to which the deployment sends content."""

    webhooks: Mapping[str, str] = field(default_factory=dict)
    """Tenants of the endpoints, by the endpoints' names."""
    traces: str | None = None
    """URL of the trace receiver."""
    model: str | None = None
    """URL of the model's server."""
    experts: Path | None = None
    """Weights that may have been trained on exported runs."""

    def of(self, tenant_id: str | None) -> Receivers:
        """What concerns a tenant; all of it is told to the deployment only."""
        own = {name: owner for name, owner in self.webhooks.items() if tenant_id in (None, owner)}
        return replace(self, webhooks=own) if tenant_id in (None, DEPLOYMENT) else Receivers(own)


async def out_of_reach(journal: Journal, tenants: Sequence[str], places: Places, receivers: Receivers) -> list[str]:
    """Places that an erasure can't reach, one line each."""
    found = list(ALWAYS)
    if receivers.webhooks:
        found.append(f"receivers of webhooks: {', '.join(receivers.webhooks)}")
    if receivers.traces:
        found.append(f"spans at {receivers.traces}")
    if receivers.model:
        found.append(f"logs of the model's server at {receivers.model}")
    if receivers.experts is not None and receivers.experts.is_file():
        found.append(f"weights that were trained on runs: {receivers.experts}")
    for tenant_id in tenants:
        found += _outside(await _exports(journal, tenant_id), places)
    return found


def _outside(names: Sequence[str], places: Places) -> list[str]:
    paths = dict.fromkeys(Path(os.path.abspath(name)) for name in names)
    return [f"an export outside of the home: {path}" for path in paths if not places.has(path)]


async def _exports(journal: Journal, tenant_id: str) -> list[str]:
    """Files that runs were exported to, as the audit log names them."""
    names, after = list[str](), 0
    while page := await journal.audit(tenant_id, act=Act.EXPORT, after=after):
        for record in page:
            given = [record.details.get("file") or record.object, record.details.get("pairs")]
            names += [name for name in given if isinstance(name, str)]
        after = page[-1].seq
    return names
