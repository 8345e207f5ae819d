"""Runs the platform without Ray, for a remote model server: API and worker in this process, the front in another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import structlog

from agent.api import ApiDeps, create_app
from agent.config import Settings
from agent.loop.worker import Worker
from agent.models.measured import MeasuredChatModel
from agent.reporting.background import background
from agent.reporting.checkpoints import checkpointing
from agent.reporting.projector import Projector
from agent.run.deltas import LocalDeltas
from agent.serve import factories, open_files
from agent.serve.api_dependencies import ApiParts
from agent.serve.front.forwarding import CallerOfFront
from agent.serve.front.process import api_socket, front_process
from agent.serve.garbage_collection import settle
from agent.serve.home import open_home
from agent.serve.http_server import address, bind, running
from agent.serve.local_stops import local_stops, stop_requests
from agent.serve.signals import stop_on_signals
from flightloop.errors import InternalError
from observability.aggregator import Aggregator
from observability.metrics import Metrics
from observability.reporter import Reporter
from observability.system import SystemSampler
from observability.tracing import Tracing, close, setup
from observability.values import Values

log = structlog.get_logger(__name__)
STREAMS_S = 2
"""Grace period in seconds for open requests at shutdown; streams end at once."""


async def serve(settings: Settings, started: Callable[[str], None]) -> None:
    """Runs API and worker until SIGINT or SIGTERM. Then streams end, runs are released, and child processes stop.

    Args:
        started: called with the API's base URL once it answers.

    Raises:
        ConfigError: a setting, the project or the model server is unusable, or the port is taken.
    """
    stop, stop_asked = stop_on_signals(), stop_requests()
    open_files.raise_limit()
    open_home(settings.home)
    settings.keyring()  # fail early if keys are unusable
    listener = bind(settings.host, settings.port)
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})  # tools must not reach it
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        live = factories.live_project(settings)
        remote = factories.remote_model(settings)
        stack.push_async_callback(remote.close)
        name = await factories.model_name(settings, remote)
        await remote.learn(name)
        journal, room = factories.open_journal(settings), factories.make_room(settings)
        stack.push_async_callback(journal.close)
        await stack.enter_async_context(checkpointing(factories.make_checkpointer(settings, journal)))
        urgent = partial(factories.open_stop_journal, settings)
        await stack.enter_async_context(local_stops(journal, asked=stop_asked, urgent=urgent))
        factories.seed_data(settings)

        config = settings.observability()
        metrics, aggregator = Metrics("api"), Aggregator(config.expiry_s)
        sampler = SystemSampler(metrics)
        reporter = Reporter(metrics, aggregator.ingest, config.interval_s, sampler.sample).start()
        stack.callback(reporter.close)
        provider = setup(config.tracing)
        stack.callback(close, provider)

        model = MeasuredChatModel(remote, metrics, name)
        guards, deltas = factories.make_guards(settings, model, name, journal.policies), LocalDeltas()
        runtimes = factories.make_runtimes(settings, live, guards)
        stack.push_async_callback(runtimes.close)
        await runtimes.prepare()
        projector = Projector(journal, config, aggregator.ingest, metrics)
        await stack.enter_async_context(background(projector.run()))
        await stack.enter_async_context(background(factories.make_project_acts(settings, journal, live).run()))
        await stack.enter_async_context(background(factories.deliver_webhooks(settings, journal, metrics)))
        await stack.enter_async_context(background(factories.erase_old_runs(settings, journal)))
        tracing = Tracing(provider, settings.trace_content)
        worker = factories.make_worker(settings, journal, runtimes, model, name, deltas, tracing)
        working = await stack.enter_async_context(_working(worker))

        async def values() -> Values:
            await projector.catch_up()  # include everything up to now
            reporter.flush()
            return aggregator.values()

        async def expose(accept: str) -> tuple[bytes, str]:
            await values()
            return aggregator.expose(accept)

        parts = ApiParts(settings, live, journal, room, model, name, remote, metrics)
        deps = parts.api(deltas, tracing, projector, values, expose)
        stack.push_async_callback(deps.close)
        own = await stack.enter_async_context(api_socket())
        await stack.enter_async_context(running(CallerOfFront(create_app(deps)), own, grace_s=STREAMS_S, limits=None))
        settle()
        front = front_process(settings, name, own.getsockname(), listener, aggregator.ingest)
        await _serve_until(stop, working, worker, front, deps, lambda: started(address(listener)))


async def _serve_until(
    stop: asyncio.Event,
    working: asyncio.Task[None],
    worker: Worker,
    front: AbstractAsyncContextManager[asyncio.Task[int]],
    deps: ApiDeps,
    started: Callable[[], None],
) -> None:
    async with front as fronting:
        started()
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({stopping, working, fronting}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        failed = fronting.done()
        deps.closing.set()
        worker.drain()  # while open requests finish
        log.info("stopping")
    if working.done():
        working.result()  # a worker that ended by itself has failed
    if failed:
        raise InternalError("the front process has ended unexpectedly")


@asynccontextmanager
async def _working(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """Runs the worker and yields its task; at the end the worker releases its runs."""
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        worker.drain()
        await asyncio.wait({task})
