"""What the HTTP API is given by the composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from agent.api.auth import Keyring, KeyStore
from agent.model_call.interrupts import Interrupts
from agent.models.chat_model import ChatModel
from agent.reporting.readiness import Readiness
from agent.run.budgets import Prices, TenantBudgets
from agent.run.journal import Journal, new_id
from agent.store.sql.disk_room import Room
from flightloop.events import DeltaEvent
from flightloop.overview import Overview
from flightloop.runs import AgentInfo, PolicyInfo, ProjectInfo, ToolInfo
from guardrails.turns import Turns
from guardrails.types import Guarding
from observability.metrics import Metrics
from observability.tracing import Tracing, untraced


class Catalogue(Protocol):
    """The project's agents, tools and policies as they are now."""

    def agents(self) -> list[AgentInfo]: ...

    def tools(self) -> list[ToolInfo]: ...

    def policies(self) -> list[PolicyInfo]: ...

    def project(self) -> ProjectInfo:
        """What is wrong with its files, if anything is."""
        ...

    def guard(self) -> Guarding:
        """The compiled default policy: it guards ``/v1/chat/completions``."""
        ...


class Listeners(Protocol):
    """Where a run's deltas can be heard."""

    def listen(self, run_id: str) -> AbstractContextManager[asyncio.Queue[DeltaEvent]]: ...


LONG_CHECKS = 2
REPLAYS = 4
FORKS = 2


async def _always_ready() -> Readiness:
    return Readiness()


@dataclass(frozen=True)
class ApiDeps:
    """Everything the API needs; it makes nothing itself and closes nothing.

    Args:
        expose: all metrics in the format that an ``Accept`` header asks for, and its content type.
        overview: the console's figures of a tenant, without runs, approvals and interrupts.
        ready: whether requests can be served, and whether the project's files can be used.
        room: on the journal's disk, for what may be large.
        closing: once set, open streams end, so that the server can.
        long_checks: whose turn it is to have a long text checked. A stage's time runs from there: beside many others
            each would take too long, and what takes too long is blocked.
        large_bodies: whose turn it is to have a large body read and checked.
        replays: whose turn it is to have events of a run read and written out.
        forks: whose turn it is to have steps of a run copied; one of a tenant at a time.
        name: of this process, one that none had before: it holds what is reserved for completions.
    """

    journal: Journal
    keys: KeyStore
    keyring: Keyring
    catalogue: Catalogue
    model: ChatModel
    deltas: Listeners
    metrics: Metrics
    expose: Callable[[str], Awaitable[tuple[bytes, str]]]
    overview: Callable[[str], Awaitable[Overview]]
    ready: Callable[[], Awaitable[Readiness]] = _always_ready
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    max_body_bytes: int = 4 * 1024 * 1024
    requests_per_minute: int = 6000
    room: Room = field(default_factory=Room)
    prices: Prices = field(default_factory=Prices)
    tenants: TenantBudgets = field(default_factory=TenantBudgets)
    name: str = field(default_factory=lambda: new_id("api"))
    long_checks: Turns = field(default_factory=lambda: Turns(LONG_CHECKS))
    large_bodies: Turns = field(default_factory=lambda: Turns(1))
    replays: Turns = field(default_factory=lambda: Turns(REPLAYS))
    forks: Turns = field(default_factory=lambda: Turns(FORKS, 1))
    heartbeat_s: float = 15.0
    tracing: Tracing = field(default_factory=lambda: Tracing(untraced()))
    interrupt_poll_s: float = 0.05
    interrupt_max_silence_s: float = 5.0

    @cached_property
    def interrupts(self) -> Interrupts:
        """For answers of models that do not look for a stop themselves."""
        return Interrupts(self.journal.interrupt_snapshot, self.interrupt_poll_s, self.interrupt_max_silence_s)
