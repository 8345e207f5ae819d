"""The engine alone, in a process of its own, configured as in a replica of the platform."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import torch

from agent.app import model_config
from agent.config import Settings
from bench.beside import beside
from flightloop.chat import ChatRequest
from model.config import EDGE
from model.engine.engine import Engine
from model.engine.fakes import ManualStop
from model.serve.openai_request import engine_request
from model.weights.load import load_model
from observability.metrics import Metrics


class EngineAlone:
    """Answers the same requests as the platform, with nothing around the engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(self, bodies: Sequence[dict[str, Any]]) -> float:
        """Answers all requests at once. Returns tokens per second of all together, from the first token to the last."""
        self._connection.send(list(bodies))
        return float(self._connection.recv())


@contextmanager
def engine_alone() -> Iterator[EngineAlone]:
    with beside(_serve) as connection:
        yield EngineAlone(connection)


def _serve(connection: Connection) -> None:
    config = model_config(Settings(model=EDGE))
    torch.set_num_threads(1)
    loaded = load_model(config)
    engine = Engine(loaded, config, ManualStop(), Metrics())
    number = 0
    while True:
        try:
            bodies = connection.recv()
        except EOFError:
            return
        for body in bodies:
            number += 1
            request = ChatRequest.model_validate({**body, "model": loaded.name})
            engine.add(engine_request(request, str(number), loaded.name, engine.vocabulary, engine.max_context))
        connection.send(_tokens_per_second(engine))


def _tokens_per_second(engine: Engine) -> float:
    first, tokens = 0.0, 0
    while engine.has_work:
        for output in engine.step():
            if output.error is not None:
                raise output.error
            first = first or time.perf_counter()
            tokens += output.summary.completion_tokens if output.summary is not None else 0
    return tokens / (time.perf_counter() - first)
