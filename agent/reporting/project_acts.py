"""Records what changes in files rather than through the API: policies, and experts put in use by the tuner.

A change is recorded as soon as it is noticed. Verdicts under a changed policy have its hash in any case.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from agent.project.project import CurrentProject
from agent.run.acts import NewAct
from agent.run.journal import Journal
from flightloop.acts import Act, Actor, ActorKind, system
from flightloop.errors import Conflict
from guardrails.policy_texts import PolicyTexts

log = structlog.get_logger(__name__)
NAME = "project-acts"
PROJECT = system("project")
PROMOTIONS = "*.promotions.jsonl"
"""Logs of the tuner (``model.tuner.gate.promotions``) in the home."""


class ProjectActs:
    """Follows a project's policies and the experts in a home. Several processes may: each change is recorded once.

    At its start a process records what differs from the last known state, and later only what it sees change. So
    processes with different files, as during an update, don't record each other's state as changes again and again.

    Args:
        texts: learns the policies, whose texts are stored with the record of their change.
        home: folder of the logs of promotions; None: there are none.
        tenant_id: in whose log the acts are recorded.
    """

    def __init__(
        self, journal: Journal, live: CurrentProject, texts: PolicyTexts, home: Path | None, tenant_id: str
    ) -> None:
        self._journal = journal
        self._live = live
        self._texts = texts
        self._home = home
        self._tenant_id = tenant_id
        self._seen: dict[str, Any] | None = None

    async def run(self, every_s: float = 1.0) -> None:
        """Runs until cancelled; failures are logged and retried."""
        while True:
            try:
                await self.catch_up()
            except Conflict:
                pass  # another process was faster
            except Exception:
                log.exception("acts of the project could not be recorded, will retry")
            await asyncio.sleep(every_s)

    async def catch_up(self) -> int:
        """Records what has changed. Returns the number of acts. Raises Conflict if another process was faster."""
        project = self._live.current()
        known = await self._journal.projection(NAME)
        state: dict[str, Any] = known.state if known else {}
        now: dict[str, Any] = {
            "policies": {policy.name: policy.sha256 for policy in project.policies.values()},
            "agents": {agent.name: project.policy_of(agent).sha256 for agent in project.agents.values()},
            "promotions": await asyncio.to_thread(_promotions, self._home),
        }
        for policy in project.policies.values():
            self._texts.add(policy)
        changed = {kind: self._changed(kind, state, now) for kind in ("policies", "agents")}
        grown = {name: lines for name, lines in now["promotions"].items() if len(lines) > _count(state, name)}
        acts = [*_changes(state, changed), *_promoted(state, grown)]
        if acts or known is None:
            kinds = {kind: _merged(state.get(kind, {}), names) for kind, names in changed.items()}
            counts = {**state.get("promotions", {}), **{name: len(lines) for name, lines in grown.items()}}
            cursor = known.cursor if known else 0
            await self._journal.acts.record_with(self._tenant_id, acts, NAME, {**kinds, "promotions": counts}, cursor)
        self._seen = now
        return len(acts)

    def _changed(self, kind: str, state: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str | None]:
        """New hashes by name, None where there is none any more."""
        known, new = state.get(kind, {}), now[kind]
        seen = known if self._seen is None else self._seen[kind]
        names = dict.fromkeys([*seen, *new])
        return {name: new.get(name) for name in names if new.get(name) not in (seen.get(name), known.get(name))}


def _merged(known: Mapping[str, str], changed: Mapping[str, str | None]) -> dict[str, str]:
    return {name: sha256 for name, sha256 in {**known, **changed}.items() if sha256 is not None}


def _changes(before: Mapping[str, Any], changed: Mapping[str, Mapping[str, str | None]]) -> Iterator[NewAct]:
    for kind, names in changed.items():
        for name, sha256 in names.items():
            details = {"of": kind.removesuffix("s"), "before": before.get(kind, {}).get(name), "after": sha256}
            yield NewAct(Act.POLICY_CHANGED, PROJECT, name, details)


def _promotions(home: Path | None) -> dict[str, list[str]]:
    """Lines of the logs of promotions, by the file's name."""
    found = sorted(home.glob(PROMOTIONS)) if home is not None else []
    return {path.name: path.read_text(encoding="utf-8", errors="replace").splitlines() for path in found}


def _count(state: Mapping[str, Any], name: str) -> int:
    """Number of lines of a log of promotions that are recorded."""
    return int(state.get("promotions", {}).get(name, 0))


def _promoted(before: Mapping[str, Any], grown: Mapping[str, list[str]]) -> Iterator[NewAct]:
    for name, lines in grown.items():
        for line in lines[_count(before, name) :]:
            try:
                entry = json.loads(line)
                details = {key: entry[key] for key in ("when", "what", "replaced", "source", "reason")}
                actor, digest = Actor(kind=ActorKind.COMMAND, name=str(entry["by"])), entry["digest"]
            except Exception:  # such as RecursionError
                details, actor, digest = {"what": "unreadable line"}, PROJECT, None
            yield NewAct(Act.PROMOTION, actor, digest, {"log": name, **details})
