"""The engine behind a minimal server with OpenAI's API: a model server for a platform without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from agent.app import model_config
from agent.config import Settings
from agent.serve.http_server import address, bind
from bench.beside import beside
from flightloop.chat import ChatRequest
from model.config import EDGE
from model.engine.engine import Engine
from model.engine.fakes import ManualStop
from model.serve.server import ChatServer
from model.weights.load import load_model
from observability.metrics import Metrics

HOST = "127.0.0.1"


@contextmanager
def bare_server() -> Iterator[str]:
    """Runs the server and yields its URL, in the form of ``FLIGHTLOOP_MODEL_URL``."""
    with beside(_serve) as connection:
        yield str(connection.recv())


def _serve(connection: Connection) -> None:
    config = model_config(Settings(model=EDGE))
    torch.set_num_threads(1)
    loaded = load_model(config)
    engine = Engine(loaded, config, ManualStop(), Metrics())
    server = ChatServer(engine, loaded, loaded.name, config.call_confidence, config.stream_interval_ms / 1000)
    server.start()
    try:
        asyncio.run(_until_left(_application(server), connection))
    finally:
        server.close()


async def _until_left(app: Starlette, connection: Connection) -> None:
    listener = bind(HOST, 0)
    http = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(http.serve(sockets=[listener]))
    connection.send(f"{address(listener)}/v1")
    left = asyncio.Event()
    asyncio.get_running_loop().add_reader(connection.fileno(), left.set)
    await left.wait()
    http.should_exit = True
    await serving


def _application(server: ChatServer) -> Starlette:
    async def complete(request: Request) -> StreamingResponse:
        asked = ChatRequest.model_validate_json(await request.body())
        return StreamingResponse(_events(server, asked), media_type="text/event-stream")

    async def models(_: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [card.model_dump(mode="json") for card in server.models()]})

    return Starlette(
        routes=[Route("/v1/chat/completions", complete, methods=["POST"]), Route("/v1/models", models)]
    )  # fmt: skip


async def _events(server: ChatServer, request: ChatRequest) -> AsyncIterator[str]:
    async for chunk in server.stream(request):
        yield f"data: {chunk.model_dump_json()}\n\n"
    yield "data: [DONE]\n\n"
