"""The model that an admin command plays with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from pydantic import SecretStr

from agent.config import Settings
from agent.evals.play import Model
from agent.models.retrying import RUNS, RetryingChatModel
from agent.serve import factories
from flightloop import AsyncFlightloop
from flightloop.errors import ConfigError, FlightloopError
from flightloop.settings import resolve


@asynccontextmanager
async def served_model(settings: Settings) -> AsyncIterator[Model]:
    """The model of FLIGHTLOOP_MODEL_URL or, if it isn't set, of the running platform.

    Raises:
        ConfigError: neither answers.
    """
    own = settings.model_url is None
    if own:
        settings = await _served(settings)
    named_by = "the running platform" if own else "FLIGHTLOOP_MODEL_URL"
    remote = factories.remote_model(settings, own=own)
    try:
        name = await factories.model_name(settings, remote)
        where = f"{_address(settings.model_url or '')} ({named_by})"
        yield Model(RetryingChatModel(remote, RUNS), name, settings.prices, where)
    finally:
        await remote.close()


def _address(url: str) -> str:
    """The URL without its user, password and query, which may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def _served(settings: Settings) -> Settings:
    """Settings with the model of the running platform. Raises ConfigError if no platform is running."""
    try:
        server = resolve()
        async with AsyncFlightloop(server.base_url, server.api_key) as client:
            card = (await client.models.list()).data[0]
    except (FlightloopError, IndexError) as error:
        told = error.message if isinstance(error, FlightloopError) else "it lists no models"
        raise ConfigError(f"a model is needed: set FLIGHTLOOP_MODEL_URL, or start the platform ({told})") from error
    found = {
        "model_url": f"{server.base_url}/v1",
        "model_api_key": SecretStr(server.api_key),
        "model_name": card.id,
        "model_context": card.context_length,
        "model_logprobs": True,
        "model_reads_plans": card.reads_plans,
    }
    return settings.model_copy(update=found)
