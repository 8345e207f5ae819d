"""What an agent can look up, as evidence for its guard."""

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
WAIT_S = 1.5
"""For the tool CHECK. What takes longer goes on, so that the next answer finds it ready."""
_late: set[asyncio.Task[ToolOutcome]] = set()


@dataclass(frozen=True)
class Stated:
    """A number at characters [start, end) of a text, and what the facts say of it."""

    start: int
    end: int
    right: bool
    numbers: tuple[float, ...] = ()
    strict: bool = False
    fact: str = ""


_stated = TypeAdapter(list[Stated])


class Checker(Protocol):
    """Performs calls of tools; ``agent.loop.gate.Hosts`` is one."""

    @property
    def registry(self) -> Any: ...

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome: ...


@dataclass(frozen=True)
class EvidenceSource:
    """
    Attributes:
        tools: that look facts up: their results tell nothing beyond.
        read: what a text states, in the words of a question. None: the tool CHECK is asked, in its sandbox, since tools
            can write what it reads.
    """

    tools: frozenset[str] = frozenset()
    read: Callable[[str, str], Sequence[Statement]] | None = None

    def of(self, agent: AgentSpec) -> EvidenceSource:
        """For an agent without any of these tools nothing is known: the facts may be another one's."""
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
        log.warning("an answer is not held against the facts: they were not read within %g s", WAIT_S)
        return ()
    outcome = task.result()
    try:
        return _stated.validate_python(outcome.content if outcome.ok else [])
    except ValidationError:
        log.warning("an answer is not held against the facts: %s did not tell them", CHECK)
        return ()
    finally:
        if not outcome.ok:
            log.warning("an answer is not held against the facts: %s", outcome.error)
