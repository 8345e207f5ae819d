"""The model on Ray Serve: one process, and its experts split over shards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import psutil
import pytest
from ray import serve
from ray.serve.handle import DeploymentHandle

from agent.app import model_deployment
from agent.models.chat_model import Capabilities
from agent.serve.connections import interrupt_watch, metrics_sink
from agent.serve.model import ServeChatModel
from agent.store import sql_journal
from flightloop.answer import completed
from flightloop.chat import ChatMessage, ChatRequest
from flightloop.errors import NotFound
from model.config import ModelConfig

pytestmark = pytest.mark.ray
CONFIG = ModelConfig(dtype="float32", threads=1, max_context=512)
PROMPTS = ["Where is my parcel?", "Name three colours.", "Count from one to ten."]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    url = f"sqlite:///{tmp_path_factory.mktemp('journal') / 'flightloop.db'}"
    journal = sql_journal(url)
    yield url
    asyncio.run(journal.close())


def deploy(config: ModelConfig, database: str, name: str) -> DeploymentHandle[Any]:
    deployment = model_deployment(config, replicas_min=1, replicas_max=1)
    bound = deployment.bind(config, partial(interrupt_watch, database, 30.0), metrics_sink)
    return serve.run(bound, name=name, route_prefix=None)


async def answers(handle: DeploymentHandle[Any]) -> list[str | None]:
    model = ServeChatModel(handle, Capabilities())
    [card] = await model.models()
    requests = [
        ChatRequest(model=card.id, messages=[ChatMessage(role="user", content=text)], temperature=0, max_tokens=24)
        for text in PROMPTS
    ]
    done = await asyncio.gather(*(completed(model.stream(request)) for request in requests))
    return [completion.choices[0].message.content for completion in done]


@pytest.fixture(scope="module")
def local(cluster: int, database: str) -> DeploymentHandle[Any]:
    return deploy(CONFIG, database, "local")


async def test_streams_what_complete_returns(local: DeploymentHandle[Any]) -> None:
    model = ServeChatModel(local, Capabilities())
    [card] = await model.models()
    request = ChatRequest(
        model=card.id, messages=[ChatMessage(role="user", content=PROMPTS[0])], temperature=0, max_tokens=24
    )
    chunks = [chunk async for chunk in model.stream(request)]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    whole = await completed(model.stream(request))
    assert text == whole.choices[0].message.content
    assert text


async def test_an_error_crosses_ray_as_itself(local: DeploymentHandle[Any]) -> None:
    model = ServeChatModel(local, Capabilities())
    request = ChatRequest(model="nothing", messages=[ChatMessage(role="user", content="hi")])
    with pytest.raises(NotFound, match="smollm2"):
        await completed(model.stream(request))
    with pytest.raises(NotFound, match="smollm2"):
        async for _ in model.stream(request):
            pass


@pytest.mark.slow
async def test_shards_give_the_same_tokens_and_come_back(local: DeploymentHandle[Any], database: str) -> None:
    expected = await answers(local)
    config = ModelConfig(dtype="float32", threads=1, max_context=512, shards=2)
    sharded = deploy(config, database, "sharded")
    try:
        assert await answers(sharded) == expected
        lose_a_shard()
        assert await answers_again(sharded) == expected
    finally:
        serve.delete("sharded")


def lose_a_shard() -> None:
    """Kills a shard of this process's own cluster, as a lost node would."""
    shards = [child for child in psutil.Process().children(recursive=True) if child.name().startswith("ray::Shard")]
    assert len(shards) == 2
    shards[1].kill()


async def answers_again(handle: DeploymentHandle[Any]) -> list[str | None]:
    """What it answers once Serve has brought the replica back; the requests in between fail."""
    async with asyncio.timeout(120):
        while True:
            try:
                return await answers(handle)
            except Exception:
                await asyncio.sleep(0.2)
