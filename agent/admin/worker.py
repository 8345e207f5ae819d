"""``python -m agent worker``: claims and executes runs until it is stopped."""

from __future__ import annotations

import asyncio
from functools import partial

from agent.config import Settings
from agent.run.deltas import LocalDeltas
from agent.serve import factories, open_files
from agent.serve.local_stops import local_stops, stop_requests
from agent.serve.signals import stop_on_signals
from observability.tracing import Tracing, close, setup


async def work(settings: Settings) -> None:
    """Works until SIGINT or SIGTERM, then releases its runs. Deltas of its runs are not published to the API.

    Raises:
        ConfigError: a setting, the project or the model server is unusable.
    """
    stop, stop_asked = stop_on_signals(), stop_requests()
    open_files.raise_limit()
    live = factories.live_project(settings)
    model = factories.remote_model(settings)
    name = await factories.model_name(settings, model)
    await model.learn(name)
    journal = factories.open_journal(settings)
    factories.seed_data(settings)
    provider = setup(settings.observability().tracing)
    runtimes = factories.make_runtimes(settings, live, factories.make_guards(settings, model, name, journal.policies))
    worker = factories.make_worker(
        settings, journal, runtimes, model, name, LocalDeltas(), Tracing(provider, settings.trace_content)
    )
    working = asyncio.create_task(worker.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        urgent = partial(factories.open_stop_journal, settings)
        async with local_stops(journal, asked=stop_asked, urgent=urgent):
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        worker.drain()
        await working
    finally:
        stopping.cancel()
        await runtimes.close()
        await journal.close()
        await model.close()
        close(provider)
