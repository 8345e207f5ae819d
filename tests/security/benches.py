"""Runs over fakes, in memory: for tests of this folder that need no platform of their own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agent.loop.local_hosts import LocalHosts
from agent.models.answer_chunks import Turn
from agent.project.agent_spec import AgentSpec
from agent.store import memory_journal
from agent.testing.fakes import ScriptedChatModel
from flightloop.tool import Tool
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from tests.agent.conftest import Bench, Clock

ALLOWED = "name: desk\nversion: '1'\ntools: {provenance: allow, allow: {helper: ['*']}}\n"


def bench(
    folder: Path, *script: Turn, tools: Iterable[Tool] = (), policy: str = ALLOWED, guard: Any = None, **spec: Any
) -> Bench:
    """An agent, ``helper``, that has all of the tools."""
    clock, declared = Clock(), list(tools)
    known = {"name": "helper", "instructions": "Help.", "planning": False} | spec
    agent = AgentSpec(tools=tuple(tool.spec.name for tool in declared), **known)
    journal = memory_journal(clock=clock, poll_s=0.01)
    guard = guard or Guard(parse_policy(policy))
    return Bench(journal, clock, ScriptedChatModel(script), LocalHosts(declared), guard, agent, folder)
