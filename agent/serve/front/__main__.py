"""``python -m agent.serve.front FD``: the front, started and stopped by ``agent.serve.front.process``."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from typing import NoReturn

from agent.api import ApiDeps
from agent.project.catalogue import ProjectCatalogue
from agent.reporting.readiness import Remembered, readiness
from agent.run.deltas import LocalDeltas
from agent.serve import factories
from agent.serve.front.app import Front
from agent.serve.front.forwarding import Forwarding
from agent.serve.front.process import FrontOrder
from agent.serve.garbage_collection import settle
from agent.serve.http_server import running
from agent.serve.logs import log_to_stderr
from flightloop.errors import ConfigError
from observability.metrics import Metrics
from observability.reporter import Reporter
from observability.system import SystemSampler


async def serve(order: FrontOrder, connection: Connection) -> None:
    """Serves until the other end of the connection closes."""
    settings, metrics = order.settings, Metrics("front")
    async with AsyncExitStack() as stack:
        room = factories.make_room(settings, keeps=True)
        journal = factories.open_journal(settings, urgent=True, room=room)
        stack.push_async_callback(journal.close)
        remote = factories.remote_model(settings)
        stack.push_async_callback(remote.close)
        api = Forwarding(order.api)
        stack.push_async_callback(api.close)
        interval = settings.observability().interval_s
        reporter = Reporter(metrics, connection.send, interval, SystemSampler(metrics).sample).start()
        stack.callback(reporter.close, attempts=1)
        guards, live = factories.make_guards(remote, order.model), factories.live_project(settings)
        deps = ApiDeps(
            journal=journal,
            keys=journal.keys,
            keyring=settings.keyring(journal.keys),
            catalogue=ProjectCatalogue(live, guards, order.model),
            model=remote,
            deltas=LocalDeltas(),
            metrics=metrics,
            expose=_api_alone,
            overview=_api_alone,
            ready=Remembered(lambda: readiness(journal, remote, live.info, room)),
            max_body_bytes=settings.max_body_bytes,
            requests_per_minute=settings.requests_per_minute,
        )
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(connection.fileno(), stop.set)
        async with running(Front(deps, api), socket.socket(fileno=order.listener)):
            settle()
            connection.send(None)
            await stop.wait()


async def _api_alone(_: str) -> NoReturn:
    raise AssertionError("only the API's process answers this")


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent process stops it
    connection = Connection(int(sys.argv[1]))
    order = FrontOrder.read(connection.recv_bytes())
    log_to_stderr(order.settings.log_level)
    try:
        asyncio.run(serve(order, connection))
    except ConfigError as error:
        connection.send(error.message)


if __name__ == "__main__":
    main()
