"""Counts frames of the project's own code that run for an answer between the engine and the socket, in one process.

The path is that of a platform on Ray: replica, API, front. Ray's hops between them are plain calls here, since frames
of other projects aren't counted. Resuming a generator or coroutine counts as a frame too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import structlog

import flightloop
from agent.api import ApiDeps, create_app
from agent.app import model_config
from agent.config import Settings
from agent.models.chat_model import Capabilities
from agent.project.catalogue import ProjectCatalogue
from agent.run.deltas import LocalDeltas
from agent.serve.api import ApiHost
from agent.serve.factories import live_project, make_guards
from agent.serve.front.app import Front
from agent.serve.home import open_home
from agent.serve.ingress import HandleApp, without_request_id
from agent.serve.model import ServeChatModel
from agent.store import memory_journal
from bench.beside import beside
from bench.errors import BenchError
from model.config import EDGE
from model.engine.engine import Engine
from model.engine.fakes import ManualStop
from model.serve.replica import ModelReplica
from model.serve.server import ChatServer
from model.weights.load import load_model
from observability.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
COUNTED = tuple(
    f"{folder}/"
    for folder in (
        ROOT / "agent", ROOT / "guardrails", ROOT / "observability", ROOT / "model" / "serve",
        Path(flightloop.__file__).parent,
    )
)  # fmt: skip


class Counter:
    """Counts frames of the project that start or resume, in all threads, while it is ``on``."""

    def __init__(self) -> None:
        self.frames = 0
        self.on = False

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if self.on and event == "call" and frame.f_code.co_filename.startswith(COUNTED):
            self.frames += 1


@contextmanager
def counting() -> Iterator[Counter]:
    """Yields a counter of frames in threads that start inside the context."""
    counter = Counter()
    threading.setprofile(counter)
    sys.setprofile(counter)
    try:
        yield counter
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def frames_per_token(project: Path, body: dict[str, Any], interval_ms: int) -> float:
    """Frames per token of one answer, between its first text and its last; counted in a process of its own.

    Args:
        project: folder of a project, whose policy guards the completion.
        body: body of the request.
        interval_ms: see ``model.config.ModelConfig.stream_interval_ms``.

    Raises:
        BenchError: the answer failed.
    """
    with beside(_serve) as connection:
        connection.send((project, body, interval_ms))
        found = connection.recv()
    if isinstance(found, str):
        raise BenchError(found)
    return float(found)


def _serve(connection: Connection) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        connection.send(_counted(*connection.recv()))
    except BenchError as error:
        connection.send(str(error))


def _counted(project: Path, body: dict[str, Any], interval_ms: int) -> float:
    with tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder:
        settings = Settings(home=Path(folder) / "home", project=project, model=EDGE)
        open_home(settings.home)
        with counting() as counter:
            return asyncio.run(_answered(settings, body, interval_ms, counter))


async def _answered(settings: Settings, body: dict[str, Any], interval_ms: int, counter: Counter) -> float:
    config = replace(model_config(settings), stream_interval_ms=interval_ms)
    loaded = load_model(config)
    engine = Engine(loaded, config, ManualStop(), Metrics())
    server = ChatServer(engine, loaded, loaded.name, config.call_confidence, config.stream_interval_ms / 1000)
    server.start()
    try:
        app = _application(settings, server, loaded.name, engine.max_context)
        # Warm-up, so that what is created only once isn't counted.
        await _asked(app, settings, {**body, "max_tokens": 2}, Counter())
        return await _asked(app, settings, body, counter)
    finally:
        server.close()


def _application(settings: Settings, server: ChatServer, name: str, context_length: int) -> Any:
    replica = SimpleNamespace(_server=server)
    model = ServeChatModel(
        Handle(
            stream=lambda request: ModelReplica.stream(replica, request),  # type: ignore[arg-type]
            models=lambda: ModelReplica.models(replica),  # type: ignore[arg-type]
        ),
        Capabilities(context_length=context_length, interrupts=True),
    )
    journal = memory_journal()
    deps = ApiDeps(
        journal=journal,
        keys=journal.keys,
        keyring=settings.keyring(journal.keys),
        catalogue=ProjectCatalogue(live_project(settings), make_guards(settings, model, name), name),
        model=model,
        deltas=LocalDeltas(),
        metrics=Metrics("api"),
        expose=_not_asked,
        overview=_not_asked,
    )
    api = SimpleNamespace(_app=create_app(deps))
    answered = Handle(answered=lambda scope, sent: ApiHost.answered(api, scope, sent))  # type: ignore[arg-type]
    return without_request_id(Front(deps, HandleApp(answered, deps.max_body_bytes)))


class Handle:
    """A deployment handle whose calls stay in this process."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        self._methods = methods

    def options(self, *, stream: bool) -> Handle:
        return self

    def __getattr__(self, name: str) -> Any:
        method = self._methods[name]
        return SimpleNamespace(
            remote=lambda *given: made if hasattr(made := method(*given), "__await__") else _Response(made)
        )


class _Response:
    def __init__(self, items: AsyncIterator[Any]) -> None:
        self._items = items

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._items

    def cancel(self) -> None:
        pass


async def _asked(app: Any, settings: Settings, body: dict[str, Any], counter: Counter) -> float:
    sent = json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode()
    pieces: list[bytes] = []
    begun: list[int] = []
    ended = asyncio.Event()
    given = False

    async def receive() -> dict[str, Any]:
        nonlocal given
        if given:
            await ended.wait()
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": sent, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        piece = message.get("body", b"")
        if b'"content":"' in piece.replace(b'"content":""', b""):
            if not counter.on:
                counter.on, counter.frames = True, 0
            begun.append(counter.frames)
        pieces.append(piece)

    headers = [
        (b"authorization", f"Bearer {settings.own_key()}".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(sent)).encode()),
        (b"host", b"127.0.0.1"),
    ]
    path = "/v1/chat/completions"
    await app(
        {
            "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path,
            "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "asgi": {"version": "3.0"},
        },
        receive,
        send,
    )  # fmt: skip
    counter.on = False
    ended.set()
    told = b"".join(pieces)
    documents = [json.loads(line[6:]) for line in told.splitlines() if line.startswith(b"data: {")]
    tokens = next((each["usage"]["completion_tokens"] for each in documents if each.get("usage")), None)
    if tokens is None or not begun:
        raise BenchError(f"the answer ended with {told[-300:]!r}")
    return begun[-1] / (tokens - 1) if tokens > 1 else 0.0


async def _not_asked(_: str) -> Any:
    raise AssertionError("not used in this measurement")
