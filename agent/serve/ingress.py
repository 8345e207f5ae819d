"""Front deployment on Ray: called by Serve's proxy; handles stops and probes itself and forwards other requests."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.api.body_limit import HeldBodies
from agent.api.completions.cancellation import first_of, gone
from agent.api.errors import answer
from agent.api.middleware import HEADER
from agent.config import Settings
from agent.serve.api_dependencies import ApiParts
from agent.serve.bounded_proxy import check_limits
from agent.serve.connections import connect_model, metrics_sink
from agent.serve.factories import live_project, make_room, open_journal
from agent.serve.front.app import Front
from agent.serve.garbage_collection import settle
from agent.serve.local_stops import stop_while_file_exists
from agent.serve.logs import log_to_file
from agent.serve.model import to_flightloop_error
from agent.serve.proxy import check_running
from flightloop.errors import FlightloopError
from observability.metrics import Metrics
from observability.reporter import Reporter
from observability.system import SystemSampler

_PASSED_ON = ("type", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path", "headers",
              "client", "server")  # fmt: skip


@serve.ingress()
class FrontHost:
    """Hosts the front in exactly one replica.

    Args:
        settings: settings of the deployment, with absolute paths.
        api: the deployment that handles all other requests.
        handle: the model's deployment; None when the model is remote.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: Settings, api: DeploymentHandle[Any], handle: DeploymentHandle[Any] | None
    ) -> None:
        log_to_file(settings, "front")
        await asyncio.to_thread(check_running, settings)
        check_limits()
        self._metrics = Metrics("front")
        model, name = await connect_model(settings, handle, self._metrics)
        room = make_room(settings, keeps=True)
        self._journal = open_journal(settings, urgent=True, room=room)
        self._watching = asyncio.create_task(stop_while_file_exists(self._journal, settings.home))
        probed = model if settings.replicas_min or settings.model_url else None  # don't wake a model scaled to zero
        parts = ApiParts(settings, live_project(settings), self._journal, room, model, name, probed, self._metrics)
        self._deps = parts.front()
        self._handle = api
        self._api = HandleApp(api, settings.max_body_bytes)
        self._reporter = Reporter(self._metrics, metrics_sink(), sample=SystemSampler(self._metrics).sample).start()
        settle()

    async def end_streams(self) -> None:
        """Makes the API end its open streams, because Serve waits for them when it stops."""
        await self._handle.end_streams.remote()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return without_request_id(Front(self._deps, self._api))

    async def __del__(self) -> None:
        self._watching.cancel()
        await self._journal.close()
        await asyncio.to_thread(self._reporter.close)


def without_request_id(app: ASGIApp) -> ASGIApp:
    """Removes our request id header from an application's responses, because Serve's proxy adds the same header."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        async def plain(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if name.lower() != HEADER.encode()]
                message = {**message, "headers": kept}
            await send(message)

        await app(scope, receive, plain)

    return answering


class HandleApp:
    """ASGI application that forwards requests to the method ``answered`` of a deployment.

    Args:
        limit: largest body in bytes.
    """

    def __init__(self, handle: DeploymentHandle[Any], limit: int) -> None:
        self._ask = handle.options(stream=True).answered
        self._bodies = HeldBodies(limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._bodies.one(scope) as held:
            body, more = bytearray(), True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                piece = message.get("body", b"")
                try:
                    held(len(piece))
                except FlightloopError as error:
                    await answer(error)(scope, receive, send)
                    return
                body += piece
                more = message.get("more_body", False)
            await first_of(self._relay(scope, bytes(body), send), gone(receive))

    async def _relay(self, scope: Scope, body: bytes, send: Send) -> None:
        response = self._ask.remote({key: scope[key] for key in _PASSED_ON if key in scope}, body)
        begun = False
        try:
            async for messages in response:
                for message in messages:
                    begun = True
                    await send(message)
        except Exception as error:
            if begun:
                raise  # the proxy must close the connection
            await answer(to_flightloop_error(error))(scope, _nothing, send)
        finally:
            response.cancel()


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
