"""Serves the front until its platform ends."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection

from agent.serve import factories
from agent.serve.api_dependencies import ApiParts
from agent.serve.front.app import Front
from agent.serve.front.forwarding import Forwarding
from agent.serve.front.process import FrontOrder
from agent.serve.garbage_collection import settle
from agent.serve.http_server import running
from agent.serve.local_stops import local_stops
from agent.serve.logs import log_to_stderr
from flightloop.errors import ConfigError
from observability.metrics import Metrics
from observability.reporter import Reporter
from observability.system import SystemSampler


def serve(connection: Connection) -> None:
    """Reads its order from the connection and serves until the other end closes. Sends an order's error there."""
    order = FrontOrder.read(connection.recv_bytes())
    log_to_stderr(order.settings.log_level)
    try:
        asyncio.run(_serve(order, connection))
    except ConfigError as error:
        connection.send(error.message)


async def _serve(order: FrontOrder, connection: Connection) -> None:
    settings, metrics = order.settings, Metrics("front")
    async with AsyncExitStack() as stack:
        room = factories.make_room(settings, keeps=True)
        journal = factories.open_journal(settings, urgent=True, room=room)
        stack.push_async_callback(journal.close)
        await stack.enter_async_context(local_stops(journal, settings.home))
        remote = factories.remote_model(settings)
        stack.push_async_callback(remote.close)
        api = Forwarding(order.api)
        stack.push_async_callback(api.close)
        interval = settings.observability().interval_s
        reporter = Reporter(metrics, connection.send, interval, SystemSampler(metrics).sample).start()
        stack.callback(reporter.close, attempts=1)
        live = factories.live_project(settings)
        deps = ApiParts(settings, live, journal, room, remote, order.model, remote, metrics).front()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(connection.fileno(), stop.set)
        async with running(Front(deps, api), socket.socket(fileno=order.listener)):
            settle()
            connection.send(None)
            await stop.wait()
