"""Facts that an agent can look up, as evidence for its guard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from agent.project.agent_spec import AgentSpec
from flightloop.tool import ToolContext
from guardrails.types import Facts, Statement, no_facts
from tools.host import ToolOutcome

log = logging.getLogger(__name__)
CHECK = "check_facts"
WAIT_S = 1.0
"""Seconds to wait for a call of ``CHECK``: half of the time that a policy gives all rails of an answer. A slower call
continues, so that its cache is warm for the next answer."""
_late: set[asyncio.Task[ToolOutcome]] = set()


@dataclass(frozen=True)
class Stated:
    """A number at characters [start, end) of a text, and what the facts say about it."""

    start: int
    end: int
    right: bool
    numbers: tuple[float, ...] = ()
    """Possible readings of the number."""
    strict: bool = False
    """Whether a wrong number is an error even if the user wrote it before."""
    fact: str = ""
    """What the source states about the number, and where."""


_stated = TypeAdapter(list[Stated])


class Checker(Protocol):
    """Can call tools; implemented by ``agent.loop.run_dependencies.Hosts``."""

    @property
    def registry(self) -> Any: ...

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome: ...


@dataclass(frozen=True)
class EvidenceSource:
    """Source of facts for checking answers.

    Attributes:
        tools: tools that look up facts; their results contain nothing else.
        read: checks the statements of a text, given the user's question. None: the tool ``CHECK`` does so in its
            sandbox, because the data that it reads may have been written by other tools.
    """

    tools: frozenset[str] = frozenset()
    read: Callable[[str, str], Sequence[Statement]] | None = None

    def of(self, agent: AgentSpec) -> EvidenceSource:
        """This source if the agent has one of its tools, else ``NO_EVIDENCE``: the facts may be for other agents."""
        return self if self.tools & set(agent.tools) else NO_EVIDENCE

    def facts(self, checker: Checker, context: ToolContext) -> Facts:
        if not self.tools:
            return no_facts
        return partial(_asked, checker, context) if self.read is None else partial(_read, self.read)


NO_EVIDENCE = EvidenceSource()


async def _read(read: Callable[[str, str], Sequence[Statement]], text: str, asked: str) -> Sequence[Statement]:
    return await asyncio.to_thread(read, text, asked)


async def _asked(checker: Checker, context: ToolContext, text: str, asked: str) -> Sequence[Statement]:
    if CHECK not in checker.registry:
        return ()
    task = asyncio.create_task(checker.call(CHECK, {"text": text, "asked": asked}, context))
    _late.add(task)
    task.add_done_callback(_late.discard)
    await asyncio.wait({task}, timeout=WAIT_S)
    if not task.done():
        log.warning("answer not checked against facts: reading them took longer than %g s", WAIT_S)
        return ()
    outcome = task.result()
    try:
        return _stated.validate_python(outcome.content if outcome.ok else [])
    except ValidationError:
        log.warning("answer not checked against facts: %s returned an invalid result", CHECK)
        return ()
    finally:
        if not outcome.ok:
            log.warning("answer not checked against facts: %s", outcome.error)
