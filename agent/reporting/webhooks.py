"""Webhooks: deliver journal events to other systems, at least once and in order.

Each endpoint has its own cursor in the journal's database, which advances when an event was delivered or given up. So
no event is lost on a restart, and a receiver that is down delays no other.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from agent.run.journal import Journal, Projection, Recorded
from flightloop.content import without_image_data
from flightloop.errors import Conflict
from flightloop.events import RunCreated, RunEvent
from flightloop.webhooks import key_of, sign
from observability import catalog
from observability.metrics import Metrics

log = structlog.get_logger(__name__)
BATCH = 1000
CHECKPOINT = "audit.checkpoint"
"""Checkpoints of the audit log are not events of the journal (``agent.reporting.checkpoint_webhook``)."""
EventName = Literal[
    "run.created",
    "run.resumed",
    "run.ended",
    "run.erased",
    "approval.requested",
    "approval.given",
    "approval.decided",
    "audit.checkpoint",
]


class Endpoint(BaseModel):
    """A receiver of events. A new endpoint only gets events that happen after its first start."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z0-9_-]{1,40}$")
    """Identifies the cursor: a renamed endpoint counts as new."""
    url: str
    secret: SecretStr
    events: tuple[EventName, ...] = ("run.ended", "approval.requested", "approval.given", "approval.decided")
    tenant_id: str = "default"

    @field_validator("url")
    @classmethod
    def _safe(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.username or not parts.hostname:
            raise ValueError("must be a URL with a host, without user name or password")
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
            raise ValueError("must begin with https:// (http:// is allowed for loopback hosts only)")
        try:
            _ = httpx.URL(value).host
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ValueError(f"is not a valid URL: {error}") from None
        return value

    @field_validator("secret")
    @classmethod
    def _well_formed(cls, value: SecretStr) -> SecretStr:
        key_of(value.get_secret_value())
        return value


@dataclass(frozen=True)
class DeliveryConfig:
    """Timing and retries of deliveries."""

    poll_s: float = 0.5
    timeout_s: float = 10.0
    tries: int = 12
    """Maximum number of attempts per event, 1, 2, 4 … s apart: 32 minutes in all. Then the event is given up."""
    longest_wait_s: float = 900.0


class Webhook:
    """Delivers events to one endpoint. If two processes deliver to it, some events may arrive twice.

    Args:
        client: must not follow redirects.
        sleep: waits between two attempts.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        journal: Journal,
        endpoint: Endpoint,
        client: httpx.AsyncClient,
        metrics: Metrics,
        config: DeliveryConfig | None = None,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._endpoint = endpoint
        self._client = client
        self._metrics = metrics
        self._config = config or DeliveryConfig()
        self._sleep = sleep
        self._clock = clock
        self._name = f"webhook:{endpoint.name}"
        self._position = 0
        self._stored = 0
        """Cursor in the database. After a restart, later events that need no delivery are read again."""
        self._failed = 0

    async def run(self) -> None:
        """Runs until cancelled; internal errors are logged and retried."""
        loaded = False
        while True:
            try:
                if not loaded:
                    await self.load()
                    loaded = True
                await self.catch_up()
            except Conflict:
                loaded = False  # another process was faster
            except Exception:
                log.exception("webhooks could not be sent, will retry", endpoint=self._endpoint.name)
                loaded = False
            await asyncio.sleep(self._config.poll_s)

    async def load(self) -> None:
        """Reads the stored cursor; a new endpoint starts at the journal's end."""
        stored = await self._journal.projection(self._name)
        if stored is None:
            end = 0
            while batch := await self._journal.read_all(end, BATCH):
                end = batch[-1].position
            stored = Projection(end, {"failed": 0})
            await self._journal.save_projection(self._name, stored, 0)
        self._position = self._stored = stored.cursor
        self._failed = int(stored.state["failed"])

    async def catch_up(self) -> None:
        """Delivers all events of the journal so far. Raises Conflict if another process has moved the cursor."""
        while batch := await self._journal.read_all(self._position, BATCH):
            for recorded in batch:
                if self._wanted(recorded):
                    await self._deliver(recorded)
                self._position = recorded.position
            if self._position - self._stored >= BATCH:
                await self._save(self._position)

    async def _save(self, cursor: int, failed: int = 0) -> None:
        await self._journal.save_projection(self._name, Projection(cursor, {"failed": failed}), self._stored)
        self._stored, self._failed = cursor, failed

    def _wanted(self, recorded: Recorded) -> bool:
        event = recorded.event
        return (
            recorded.tenant_id == self._endpoint.tenant_id and event.type in self._endpoint.events and not event.copied
        )

    async def _deliver(self, recorded: Recorded) -> None:
        """Returns when the event was delivered or given up."""
        while (problem := await self._sent(recorded)) is not None:
            self._count("failed")
            failed = self._failed + 1
            told = {"endpoint": self._endpoint.name, "webhook_id": _id(recorded), "problem": problem, "tries": failed}
            if failed >= self._config.tries:
                log.error("webhook given up", **told)
                self._count("given_up")
                return await self._save(recorded.position)
            log.warning("webhook not delivered, will retry", **told)
            await self._save(recorded.position - 1, failed)
            await self._sleep(min(2.0 ** (failed - 1), self._config.longest_wait_s))
        self._count("delivered")
        return await self._save(recorded.position)

    async def _sent(self, recorded: Recorded) -> str | None:
        """Sends an event once. Returns the problem, or None on success."""
        event = _without_images(recorded.event).model_dump(mode="json")
        body = body_of(event["type"], event["at"], {**event, "tenant_id": recorded.tenant_id})
        now = int(self._clock())
        return await post(self._client, self._endpoint, _id(recorded), body, now, self._config.timeout_s)

    def _count(self, outcome: str) -> None:
        self._metrics.inc(catalog.SYSTEM_WEBHOOKS, endpoint=self._endpoint.name, outcome=outcome)


async def deliver(journal: Journal, endpoints: Sequence[Endpoint], metrics: Metrics) -> None:
    """Delivers to all endpoints concurrently until cancelled."""
    config = DeliveryConfig()
    async with httpx.AsyncClient(timeout=config.timeout_s, follow_redirects=False) as client:
        await asyncio.gather(*(Webhook(journal, endpoint, client, metrics, config).run() for endpoint in endpoints))


def _without_images(event: RunEvent) -> RunEvent:
    """The event with digests in place of images, which may take megabytes."""
    if not isinstance(event, RunCreated):
        return event
    return event.model_copy(update={"input": without_image_data(event.input)})


def _id(recorded: Recorded) -> str:
    """Message id, the same for every attempt and process."""
    return f"msg_{recorded.event.run_id}_{recorded.event.seq}"


def body_of(kind: str, at: str, data: Mapping[str, Any]) -> bytes:
    """Body of a webhook."""
    document = {"type": kind, "timestamp": at, "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


async def post(
    client: httpx.AsyncClient, endpoint: Endpoint, message_id: str, body: bytes, now: int, timeout_s: float
) -> str | None:
    """Sends a signed message once. Returns the problem, or None on success.

    Args:
        now: seconds since 1970.
    """
    signed = sign(endpoint.secret.get_secret_value(), message_id, now, body)
    headers = {"content-type": "application/json", **signed}
    try:
        async with asyncio.timeout(timeout_s):  # also covers receivers that send byte by byte
            async with client.stream("POST", endpoint.url, content=body, headers=headers) as answer:
                return None if answer.is_success else f"status {answer.status_code}"
    except (httpx.HTTPError, TimeoutError) as error:
        return type(error).__name__


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    return bool(re.fullmatch(r"[\d.]+|[\da-f:]+", host)) and ipaddress.ip_address(host).is_loopback
