"""Transports that execute calls and streams: one blocking, one for asyncio."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from typing import TypeVar, cast

import httpx

from flightloop.call import (
    Attempts,
    Call,
    Feed,
    Steps,
    check_stream,
    error_of,
    http_options,
    result_of,
    silence_s,
    undecodable,
)
from flightloop.errors import FlightloopError
from flightloop.settings import ClientSettings

T = TypeVar("T")


@cache
def tls(trust_env: bool) -> ssl.SSLContext:
    """TLS context shared by all clients: reading the certificates takes 10 ms and blocks an event loop."""
    return httpx.create_ssl_context(trust_env=trust_env)


class SyncTransport:
    """Executes calls on the calling thread. Thread-safe.

    Args:
        sleep: waits the given seconds between attempts.
        transport: httpx transport that replaces the network.
    """

    def __init__(
        self,
        settings: ClientSettings,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.settings = settings
        self._sleep = sleep
        self._http = httpx.Client(**http_options(settings), verify=tls(settings.proxied), transport=transport)

    def execute(self, call: Call[T]) -> T:
        attempts = Attempts(call, self.settings)
        while True:
            failure: FlightloopError | httpx.TransportError
            try:
                response = self._http.request(**call.request())
            except httpx.DecodingError as error:
                raise undecodable(error) from error
            except httpx.TransportError as error:
                failure = error
            else:
                if response.is_success:
                    return result_of(call, response)
                failure = error_of(response)
            self._sleep(attempts.delay(failure))

    def stream(self, feed: Feed[T]) -> Iterator[T]:
        attempts = Attempts(feed.call(), self.settings, feed.deadline)
        while not feed.done:
            failure: FlightloopError | httpx.TransportError
            whole = False
            timeout = silence_s(self.settings, feed.deadline)
            try:
                with self._http.stream(**feed.call().request(), timeout=timeout) as response:
                    if response.is_success:
                        check_stream(response)
                        for chunk in response.iter_bytes():
                            attempts.succeeded()
                            yield from feed.push(chunk)
                            if feed.done:
                                return
                            silence_s(self.settings, feed.deadline)
                        whole, failure = True, httpx.ReadError("the stream ended early")
                    else:
                        response.read()
                        failure = error_of(response)
            except httpx.DecodingError as error:
                raise undecodable(error) from error
            except httpx.TransportError as error:
                failure = error
            feed.lost(whole=whole)
            if not feed.done:
                self._sleep(attempts.delay(failure))

    def drive(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                step = steps.send(self.execute(step) if isinstance(step, Call) else list(self.stream(step)))
        except StopIteration as end:
            return cast(T, end.value)

    def close(self) -> None:
        self._http.close()


class AsyncTransport:
    """Executes calls on the running event loop. Arguments are those of ``SyncTransport``."""

    def __init__(
        self,
        settings: ClientSettings,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings = settings
        self._sleep = sleep
        self._http = httpx.AsyncClient(**http_options(settings), verify=tls(settings.proxied), transport=transport)

    async def execute(self, call: Call[T]) -> T:
        attempts = Attempts(call, self.settings)
        while True:
            failure: FlightloopError | httpx.TransportError
            try:
                response = await self._http.request(**call.request())
            except httpx.DecodingError as error:
                raise undecodable(error) from error
            except httpx.TransportError as error:
                failure = error
            else:
                if response.is_success:
                    return result_of(call, response)
                failure = error_of(response)
            await self._sleep(attempts.delay(failure))

    async def stream(self, feed: Feed[T]) -> AsyncIterator[T]:
        attempts = Attempts(feed.call(), self.settings, feed.deadline)
        while not feed.done:
            failure: FlightloopError | httpx.TransportError
            whole = False
            timeout = silence_s(self.settings, feed.deadline)
            try:
                async with self._http.stream(**feed.call().request(), timeout=timeout) as response:
                    if response.is_success:
                        check_stream(response)
                        async for chunk in response.aiter_bytes():
                            attempts.succeeded()
                            for item in feed.push(chunk):
                                yield item
                            if feed.done:
                                return
                            silence_s(self.settings, feed.deadline)
                        whole, failure = True, httpx.ReadError("the stream ended early")
                    else:
                        await response.aread()
                        failure = error_of(response)
            except httpx.DecodingError as error:
                raise undecodable(error) from error
            except httpx.TransportError as error:
                failure = error
            feed.lost(whole=whole)
            if not feed.done:
                await self._sleep(attempts.delay(failure))

    async def drive(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Call):
                    step = steps.send(await self.execute(step))
                else:
                    step = steps.send([item async for item in self.stream(step)])
        except StopIteration as end:
            return cast(T, end.value)

    async def close(self) -> None:
        await self._http.aclose()
