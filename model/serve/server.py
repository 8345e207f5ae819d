"""The model as a chat service in one process: a thread steps the engine, asyncio serves the streams."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from uuid import uuid4

import structlog

from flightloop.chat import ChatChunk, ChatRequest
from flightloop.errors import FlightloopError, InternalError, ModelUnavailable
from flightloop.model_card import ModelCard
from model.engine.compiler import GrammarCompiler
from model.engine.engine import Engine
from model.engine.request import EngineLoad, EngineOutput, EngineRequest, joined
from model.serve.call_confidence import least_of, without_unsure_calls
from model.serve.openai_chunks import ChunkWriter
from model.serve.openai_request import engine_request
from model.weights.loaded import LoadedModel

log = structlog.get_logger(__name__)
CHUNK_TOKENS = 8
"""Number of tokens at which a chunk is sent before the interval ends: an emergency stop can't take back a chunk."""
MOST_GROWTH = 4.0
"""Maximum factor by which chunks grow, in tokens and time, while many answers stream at once: each chunk costs the
processes that pass it on as much as several tokens cost the engine. The engine's own speed isn't affected."""


@dataclass(eq=False)
class _Stream:
    """Connects a request to its reader on an event loop."""

    request: EngineRequest
    loop: asyncio.AbstractEventLoop
    interval_s: float
    growth: Callable[[], float] = lambda: 1.0  # factor on a chunk's tokens and time
    _pending: deque[EngineOutput | FlightloopError] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _due: float = 0.0
    _is_waiting: bool = False  # the reader waits for the next output
    _ended: bool = False
    _sent: int = 0  # tokens; only one thread writes each of the two counters
    _read: int = 0

    async def next(self) -> EngineOutput:
        """Waits for enough tokens, the end of the interval or the last output, and merges the outputs since the last
        call into one. The first output is returned at once.

        Raises the error that ended the stream.
        """
        # In a loop, since a wake-up may be for tokens that were read already.
        while not self._full and (rest := self._due - self.loop.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._wake.wait()
                    self._wake.clear()
        self._is_waiting = True  # from here on, a sender wakes us; earlier output is checked below
        while not self._pending:
            await self._wake.wait()
            self._wake.clear()
        self._is_waiting = False
        self._wake.clear()
        self._due = self.loop.time() + self.interval_s * self.growth()
        return self._taken()

    @property
    def _full(self) -> bool:
        return self._ended or self._sent - self._read >= CHUNK_TOKENS * self.growth()

    def _taken(self) -> EngineOutput:
        outputs: list[EngineOutput] = []
        while self._pending:
            event = self._pending[0]
            if isinstance(event, FlightloopError):
                if outputs:
                    break  # raised by the next call
                raise event
            outputs.append(event)
            self._read += len(event.tokens)
            self._pending.popleft()
        # After an emergency stop, nothing is sent any more, not even what was decoded before it.
        return outputs[-1] if outputs[-1].interrupted else joined(outputs)

    def send(self, event: EngineOutput | FlightloopError) -> None:
        """Passes an output from the engine's thread to the reader. Wakes the loop only if needed, since a wake-up costs
        more than a token."""
        if isinstance(event, EngineOutput):
            self._sent += len(event.tokens)
        self._ended = isinstance(event, FlightloopError) or event.last
        self._pending.append(event)
        if self._is_waiting or self._full:
            with suppress(RuntimeError):  # the reader's loop is closed
                self.loop.call_soon_threadsafe(self._wake.set)


class ChatServer:
    """Serves one model under one name.

    Args:
        engine: stepped by this server's thread only.
        loaded: the model.
        name: the model's name in requests.
        call_confidence: minimum confidence of calls (`model.serve.call_confidence`), 0..1; 0: all calls are made. A
            request may name its own.
        interval_s: maximum time to collect tokens for a chunk while a single answer streams. With several answers it is
            longer, by up to `MOST_GROWTH`. 0: one token per chunk, or more if the reader is busy.
    """

    def __init__(
        self, engine: Engine, loaded: LoadedModel, name: str, call_confidence: float = 0.0, interval_s: float = 0.0
    ) -> None:
        self._engine = engine
        self._loaded = loaded
        self._name = name
        self._created = int(time.time())
        self._call_confidence = call_confidence
        self._interval_s = interval_s
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = Lock()  # guards the two attributes below
        self._streams: dict[str, _Stream] = {}
        self._closed: FlightloopError | None = ModelUnavailable("the model server has not started")
        self._load = engine.load()
        self._compiler = GrammarCompiler(calls=loaded.chat.calls)
        self._thread = Thread(target=self._serve, name="engine", daemon=True)

    def start(self) -> None:
        self._closed = None
        self._thread.start()

    def close(self) -> None:
        """Ends the thread after the current step. Open streams raise ModelUnavailable."""
        self._shut(ModelUnavailable("the model server is shutting down"))
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join()
        self._compiler.close()

    def health(self) -> bool:
        """Whether the engine's thread runs. Once False, it stays False."""
        return self._closed is None and self._thread.is_alive()

    def load(self) -> EngineLoad:
        """Load of the engine after its last step, including requests that arrived since."""
        load = self._load
        return EngineLoad(
            load.slots, load.running, load.waiting + self._inbox.qsize(), load.kv_used_ratio,
            load.kv_fragmentation_ratio,
        )  # fmt: skip

    def models(self) -> list[ModelCard]:
        return [
            ModelCard(
                id=self._name,
                created=self._created,
                context_length=self._engine.max_context,
                parameters=self._loaded.parameters,
                active_parameters=self._loaded.active_parameters,
                weights=self._loaded.form.title,
                parts=["text", "table"],
                reads_plans=self._loaded.chat.shows_plans,
            )
        ]

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        """The answer as chunks. The last one has the finish reason, usage and flightloop's extension.

        Closing the iterator cancels the request between two tokens.

        Raises:
            NotFound, InvalidRequest, UnsupportedContent, ContextTooLong: the client has to change something.
            Overloaded, Interrupted, ModelUnavailable: the client may retry later.
            InternalError: the engine failed.
        """
        if least := least_of(request, self._call_confidence):
            return without_unsure_calls(self._answer, request, least)
        return self._answer(request)

    async def _answer(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        request_id = f"chatcmpl-{uuid4().hex}"
        vocabulary = self._engine.vocabulary
        grammar = await self._compiler.grammar(request)
        prepared = await asyncio.to_thread(
            engine_request,
            request,
            request_id,
            self._name,
            vocabulary,
            self._engine.max_context,
            lambda _: grammar,
        )
        held = prepared.grammar is not None
        writer = ChunkWriter(
            request_id, self._name, vocabulary, calls=bool(request.tools), held=held, logprobs=request.logprobs
        )
        stream = _Stream(prepared, asyncio.get_running_loop(), self._interval_s, self._chunk_growth)
        self._open(stream)
        try:
            while True:
                output = await stream.next()
                for chunk in writer.write(output):
                    yield chunk
                if output.error is not None:
                    raise output.error
                if output.last:
                    return
        finally:
            with self._lock:
                unfinished = self._streams.pop(request_id, None) is not None
            if unfinished:
                self._inbox.put(partial(self._engine.cancel, request_id))

    def _chunk_growth(self) -> float:
        return min((len(self._streams) + 1) / 2, MOST_GROWTH)

    def _open(self, stream: _Stream) -> None:
        with self._lock:
            if self._closed is not None:
                raise self._closed
            self._streams[stream.request.id] = stream
            self._inbox.put(partial(self._admit, stream))

    def _shut(self, reason: FlightloopError) -> None:
        with self._lock:
            self._closed = self._closed or reason
            streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.send(reason)

    # The methods below run in the engine's thread.

    def _serve(self) -> None:
        try:
            while self._work_inbox():
                outputs = self._engine.step() if self._engine.has_work else []
                self._load = self._engine.load()
                for output in outputs:
                    self._deliver(output)
        except Exception as error:
            log.exception("the engine failed", model=self._name)
            self._shut(InternalError(f"the engine failed: {type(error).__name__}: {error}"))

    def _work_inbox(self) -> bool:
        """Runs the commands in the inbox; waits for one if the engine has no work. Returns False at shutdown."""
        wait = not self._engine.has_work
        with suppress(Empty):
            while True:
                command = self._inbox.get(block=wait)
                if command is None:
                    return False
                command()
                wait = False
        return True

    def _admit(self, stream: _Stream) -> None:
        with self._lock:
            wanted = stream.request.id in self._streams
        if not wanted:
            return
        try:
            self._engine.add(stream.request)
        except FlightloopError as error:
            self._finish(stream.request.id, error)

    def _deliver(self, output: EngineOutput) -> None:
        if output.last:
            self._finish(output.request_id, output)
            return
        stream = self._streams.get(output.request_id)
        if stream is not None:
            stream.send(output)

    def _finish(self, request_id: str, event: EngineOutput | FlightloopError) -> None:
        with self._lock:
            stream = self._streams.pop(request_id, None)
        if stream is not None:
            stream.send(event)
