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

from agent.project.project import CurrentProject, Project
from agent.run.acts import NewAct
from agent.run.journal import Journal
from flightloop.acts import Act, Actor, ActorKind, system
from flightloop.errors import Conflict, FlightloopError
from guardrails.policy_texts import PolicyTexts

log = structlog.get_logger(__name__)
NAME = "project-acts"
PROJECT = system("project")
PROMOTIONS = "*.promotions.jsonl"
"""Logs of the tuner (``model.tuner.gate.shelf``) in the home."""


class ProjectActs:
    """Follows a project's policies and the experts in a home. Several processes may: each change is recorded once.

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

    async def run(self, every_s: float = 1.0) -> None:
        """Runs until cancelled; failures are logged and retried."""
        while True:
            try:
                await self.catch_up()
            except Conflict:
                continue  # another process was faster
            except (FlightloopError, OSError):
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
        acts = [*self._policies(project, state, now), *_promoted(state, now)]
        if acts or known is None:
            cursor = known.cursor if known else 0
            counts = {name: len(lines) for name, lines in now["promotions"].items()}
            await self._journal.acts.record_with(self._tenant_id, acts, NAME, {**now, "promotions": counts}, cursor)
        return len(acts)

    def _policies(self, project: Project, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[NewAct]:
        for policy in project.policies.values():
            self._texts.add(policy)
        for kind in ("policies", "agents"):
            old, new = before.get(kind, {}), now[kind]
            for name in dict.fromkeys([*old, *new]):
                if old.get(name) != new.get(name):
                    details = {"before": old.get(name), "after": new.get(name)}
                    yield NewAct(Act.POLICY_CHANGED, PROJECT, name, {"of": kind.removesuffix("s"), **details})


def _promotions(home: Path | None) -> dict[str, list[str]]:
    """Lines of the logs of promotions, by the file's name."""
    found = sorted(home.glob(PROMOTIONS)) if home is not None else []
    return {path.name: path.read_text(encoding="utf-8").splitlines() for path in found}


def _promoted(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[NewAct]:
    for name, lines in now["promotions"].items():
        for line in lines[before.get("promotions", {}).get(name, 0) :]:
            try:
                entry = json.loads(line)
                details = {key: entry[key] for key in ("when", "what", "replaced", "source", "reason")}
                actor, digest = Actor(kind=ActorKind.COMMAND, name=str(entry["by"])), entry["digest"]
            except (ValueError, KeyError, TypeError):
                details, actor, digest = {"what": "unreadable line"}, PROJECT, None
            yield NewAct(Act.PROMOTION, actor, digest, {"log": name, **details})
