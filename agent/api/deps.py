"""Dependencies of the HTTP API, provided by the composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from agent.api.auth import Keyring, KeyStore
from agent.attachments.images import Images
from agent.erasing.eraser import Eraser
from agent.model_call.interrupts import Interrupts
from agent.models.chat_model import ChatModel
from agent.reporting.readiness import Readiness
from agent.run.budgets import Prices, TenantBudgets
from agent.run.journal import Journal, new_id
from agent.store.sql.disk_room import Room
from flightloop.events import DeltaEvent
from flightloop.overview import Overview
from flightloop.runs import AgentInfo, PolicyInfo, ProjectInfo, Run, ToolInfo
from guardrails.checkpoints import Checkpoints
from guardrails.turns import Turns
from guardrails.types import Guarding
from observability.metrics import Metrics
from observability.tracing import Tracing, untraced


class Catalogue(Protocol):
    """The project's current agents, tools and policies."""

    def agents(self) -> list[AgentInfo]: ...

    def predictor(self) -> AgentInfo:
        """The agent that predicts: the project's, or the built-in one."""
        ...

    def tools(self) -> list[ToolInfo]: ...

    def policies(self) -> list[PolicyInfo]: ...

    def project(self) -> ProjectInfo:
        """Time at which the project was loaded, and the problem with its files, if any."""
        ...

    def guard(self) -> Guarding:
        """Guard of the default policy, used for ``/v1/chat/completions``."""
        ...

    def guard_of(self, run: Run) -> Guarding:
        """Guard of a run's policies as they are now."""
        ...


class Listeners(Protocol):
    """Source of a run's deltas (streamed text)."""

    def listen(self, run_id: str) -> AbstractContextManager[asyncio.Queue[DeltaEvent]]: ...


LONG_CHECKS = 2
REPLAYS = 4
FORKS = 2


async def _always_ready() -> Readiness:
    return Readiness()


@dataclass(frozen=True)
class ApiDeps:
    """Everything the API needs. The composition root creates it, and calls ``close`` at the end."""

    journal: Journal
    keys: KeyStore
    keyring: Keyring
    catalogue: Catalogue
    model: ChatModel
    deltas: Listeners
    metrics: Metrics
    expose: Callable[[str], Awaitable[tuple[bytes, str]]]
    """Renders all metrics in the format that an ``Accept`` header selects; returns them with the content type."""
    overview: Callable[[str], Awaitable[Overview]]
    """Computes a tenant's figures for the console."""
    ready: Callable[[], Awaitable[Readiness]] = _always_ready
    """Checks whether requests can be served and the project's files are valid."""
    checkpoints: Callable[[], Checkpoints] | None = None
    """Reads the checkpoints of the audit log; None: there are none."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at shutdown, to end open streams."""
    max_body_bytes: int = 4 * 1024 * 1024
    requests_per_minute: int = 6000
    subject_requests_per_minute: int = 120
    room: Room = field(default_factory=Room)
    """Free space on the journal's disk, checked before large writes."""
    prices: Prices = field(default_factory=Prices)
    tenants: TenantBudgets = field(default_factory=TenantBudgets)
    name: str = field(default_factory=lambda: new_id("api"))
    """Unique name of this process, recorded as the holder of its completions' budget reservations."""
    long_checks: Turns = field(default_factory=lambda: Turns(LONG_CHECKS))
    """Limits concurrent checks of long texts. A check's time limit starts when its turn comes. Without turns, many
    concurrent checks would exceed their limits, and their texts would be blocked."""
    large_bodies: Turns = field(default_factory=lambda: Turns(1))
    """Limits concurrent parsing of large bodies."""
    replays: Turns = field(default_factory=lambda: Turns(REPLAYS))
    """Limits concurrent reading and serialising of runs' events."""
    forks: Turns = field(default_factory=lambda: Turns(FORKS, 1))
    """Limits concurrent copying of runs' steps, to one per tenant."""
    eraser: Eraser | None = None
    """Erases the content of runs; None in processes that only forward such requests."""
    images: Images | None = None
    """Takes in images; None: requests with images are refused."""
    heartbeat_s: float = 15.0
    tracing: Tracing = field(default_factory=lambda: Tracing(untraced()))
    interrupt_poll_s: float = 0.05
    interrupt_max_silence_s: float = 5.0

    async def close(self) -> None:
        """Ends the processes that take images in."""
        if self.images is not None:
            await self.images.close()

    @cached_property
    def interrupts(self) -> Interrupts:
        """Watches for interrupts on behalf of models that don't poll for them."""
        return Interrupts(self.journal.interrupt_snapshot, self.interrupt_poll_s, self.interrupt_max_silence_s)
