"""``Flightloop`` and ``AsyncFlightloop``: the client, blocking and for asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from flightloop.code_resource import Code
from flightloop.completions import Chat, Responses
from flightloop.erasure_resource import Erasing
from flightloop.prediction_resource import Predicting, Predictions
from flightloop.resource import X
from flightloop.resources import (
    Agents,
    Approvals,
    Audit,
    Interrupts,
    Keys,
    Models,
    OverviewResource,
    Policies,
    Runs,
    Tools,
)
from flightloop.settings import resolve
from flightloop.transport import AsyncTransport, SyncTransport


class _Client(OverviewResource[X], Predicting[X], Erasing[X]):
    def __init__(self, transport: X) -> None:
        super().__init__(transport)
        self.runs = Runs(transport)
        self.approvals = Approvals(transport)
        self.interrupts = Interrupts(transport)
        self.keys = Keys(transport)
        self.agents = Agents(transport)
        self.tools = Tools(transport)
        self.policies = Policies(transport)
        self.audit = Audit(transport)
        self.models = Models(transport)
        self.chat = Chat(transport)
        self.code = Code(transport)
        self.responses = Responses(transport)
        self.predictions = Predictions(transport)

    @property
    def base_url(self) -> str:
        return self._transport.settings.base_url


class Flightloop(_Client[SyncTransport]):
    """Blocking client; a context manager. Thread-safe.

    Args:
        base_url: the server's URL; default: ``FLIGHTLOOP_URL``, then http://127.0.0.1:8000.
        api_key: default: ``FLIGHTLOOP_API_KEY``, then the file ``key`` in ``FLIGHTLOOP_HOME`` (``.flightloop``).
        timeout_s: seconds of silence after which a response counts as lost.
        retries: further attempts after retryable errors, with the same idempotency key.
        transport: httpx transport that replaces the network, as in tests (``flightloop.testing``).

    Raises:
        ConfigError: no key, or an invalid URL.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retries: int = 2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        settings = resolve(base_url, api_key, timeout_s=timeout_s, retries=retries)
        super().__init__(SyncTransport(settings, transport=transport))

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncFlightloop(_Client[AsyncTransport]):
    """Client for asyncio; an async context manager. Arguments and errors are those of ``Flightloop``."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        settings = resolve(base_url, api_key, timeout_s=timeout_s, retries=retries)
        super().__init__(AsyncTransport(settings, transport=transport))

    async def close(self) -> None:
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
