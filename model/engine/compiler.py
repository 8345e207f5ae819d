"""Compiles grammars of requests in a separate process, which is killed when a schema takes too long.

Compilation holds Python's interpreter lock and can't be interrupted. In a thread it could not be
stopped, and would slow down the engine.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import selectors
import subprocess
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

from flightloop.chat import ChatMessage, ChatRequest, ToolDef
from flightloop.errors import ConfigError, InternalError, InvalidRequest, ModelUnavailable, Overloaded
from model.chat.calls import COMPACT, CallFormat

LIMIT_S = 3.0
"""Longest time to compile the schemas of one request. Thirty ordinary tools take about 50 ms."""
START_S = 60.0
"""Longest time for a compiler process to start."""
PROCESSES = 2
"""Compiler processes, so that one slow schema doesn't block all others."""
WAITING = 16
MOST = 8
"""Maximum number of schemas per tenant that are compiled or waiting; equal ones count once."""
_FREE = (None, "auto", "none")
"""Values of ``tool_choice`` that demand no call."""
CACHED = 256
COMMAND = (sys.executable, "-P", "-m", "model.engine.compiling")
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Compiled:
    """A request's grammar (None for free text), or its ``problem`` and the field ``param`` that causes it."""

    grammar: str | None = None
    problem: str | None = None
    param: str | None = None


@dataclass
class _Turn:
    """Makes a tenant's schemas compile one at a time. ``asked``: number of schemas waiting or being compiled."""

    lock: Lock = field(default_factory=Lock)
    asked: int = 0


class GrammarCompiler:
    """Provides grammars for requests and caches the latest. Thread-safe.

    Args:
        limit_s: seconds for one request's schemas.
        processes: number of compiler processes. Each starts on first use.
        command: starts a process that speaks the protocol of ``model.engine.compiling``.
        calls: how the model writes calls.
        start_s: seconds for a process to start.
    """

    def __init__(
        self,
        limit_s: float = LIMIT_S,
        processes: int = PROCESSES,
        command: Sequence[str] = COMMAND,
        calls: CallFormat = COMPACT,
        start_s: float = START_S,
    ) -> None:
        self._calls = calls
        self._limit_s = limit_s
        self._closed = False
        self._lock = Lock()  # guards the three attributes below
        self._known: OrderedDict[str, Compiled] = OrderedDict()
        self._asked: dict[str, Future[Compiled]] = {}
        self._turns: defaultdict[str, _Turn] = defaultdict(_Turn)
        self._threads = ThreadPoolExecutor(WAITING, "grammar-compiler")
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._processes = [_Process(command, start_s) for _ in range(processes)]
        for process in reversed(self._processes):
            self._idle.put(process)

    async def grammar(self, request: ChatRequest) -> str | None:
        """Like ``model.engine.grammar.grammar_for``. Cached grammars and free text return at once.

        Raises:
            InvalidRequest: contradictory fields, a schema that can't be compiled, or one that takes too long.
            Overloaded: too many schemas of the tenant are already waiting.
            InternalError: the compiler process failed or did not start; the next request tries again.
        """
        plain = request.flightloop.opening is None and not request.flightloop.never
        if plain and not request.tools and request.response_format is None and request.tool_choice in _FREE:
            return None
        question = _question(request, self._calls)
        key = hashlib.sha256(question).hexdigest()
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            else:
                asked = self._asked.get(key) or self._begin(key, question, request)
        if found is None:
            found = await asyncio.shield(asyncio.wrap_future(asked))
        if found.problem is not None:
            raise InvalidRequest(found.problem, param=found.param)
        return found.grammar

    def close(self) -> None:
        """Ends the processes and abandons their work."""
        self._closed = True
        for process in self._processes:
            process.kill()  # a thread that waits for its answer reads the end of the stream
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.end()

    def _begin(self, key: str, question: bytes, request: ChatRequest) -> Future[Compiled]:
        tenant = request.flightloop.tags.tenant_id
        turn = self._turns[tenant]
        if turn.asked >= MOST:
            raise Overloaded(f"{MOST} schemas of this tenant are being compiled; try again shortly", retry_after=2.0)
        turn.asked += 1
        param = "tools" if request.tools else "response_format.json_schema.schema"
        begun = self._asked[key] = self._threads.submit(self._compile, key, question, param, tenant, turn)
        return begun

    def _compile(self, key: str, question: bytes, param: str, tenant: str, turn: _Turn) -> Compiled:
        found: Compiled | None = None
        try:
            with turn.lock:
                found = self._compiled(question, param)
        finally:
            with self._lock:
                del self._asked[key]
                turn.asked -= 1
                if not turn.asked:
                    del self._turns[tenant]
                if found is not None:
                    self._known[key] = found
                    while len(self._known) > CACHED:
                        self._known.popitem(last=False)
        return found

    def _compiled(self, question: bytes, param: str) -> Compiled:
        process = self._idle.get()
        try:
            if self._closed:
                raise ModelUnavailable("the model server is shutting down")
            return Compiled(**process.ask(question, self._limit_s))
        except TimeoutError:
            told = f"{param}: compiling takes more than {self._limit_s:g} s; simplify the schema: fewer alternatives"
            told += " (anyOf, allOf, patternProperties), fewer and shorter patterns"
            return Compiled(problem=told, param=param)
        finally:
            self._idle.put(process)


def check_tools(tools: Sequence[ToolDef], limit_s: float = LIMIT_S, command: Sequence[str] = COMMAND) -> None:
    """Checks that constrained decoding can enforce each tool's schema. Takes about 0.5 s, in a separate process.

    Args:
        limit_s: seconds for one tool's schema.
        command: as for `GrammarCompiler`.

    Raises:
        ConfigError: names the first tool whose schema can't be compiled, with the reason.
    """
    process = _Process(command)
    try:
        for tool in tools:
            if (problem := _problem(process, tool, limit_s)) is not None:
                told = f"tool {tool.function.name}: the schema of its parameters: {problem}"
                raise ConfigError(told, param="tools")
    finally:
        process.end()


def _problem(process: _Process, tool: ToolDef, limit_s: float) -> str | None:
    request = ChatRequest(model="", messages=[ChatMessage(role="user")], tools=[tool], tool_choice="required")
    try:
        found = Compiled(**process.ask(_question(request, COMPACT), limit_s))
    except TimeoutError:
        return f"takes more than {limit_s:g} s to compile; simplify it"
    return found.problem and found.problem.removeprefix(found.param or "").lstrip(": ")


def _question(request: ChatRequest, calls: CallFormat) -> bytes:
    """The fields of a request that affect its grammar, as one line."""
    fields = {"tools", "tool_choice", "parallel_tool_calls", "response_format"}
    asked = {"calls": calls.name, **request.model_dump(mode="json", by_alias=True, include=fields)}
    if bounds := request.flightloop.model_dump(include={"opening", "never"}, exclude_defaults=True):
        asked["flightloop"] = bounds
    return json.dumps(asked).encode() + b"\n"


class _Process:
    """A compiler process, started on demand and restarted after a kill. Used by one thread at a time."""

    def __init__(self, command: Sequence[str], start_s: float = START_S) -> None:
        self._command = command
        self._start_s = start_s
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, question: bytes, limit_s: float) -> dict[str, Any]:
        """The answer to a question.

        Raises:
            TimeoutError: there was none within ``limit_s``, and the process was killed.
            InternalError: the process exited, or did not start.
        """
        try:
            process = self._running()
            assert process.stdin is not None
            process.stdin.write(question)
            process.stdin.flush()
            line = _line(process, limit_s)
        except OSError as error:  # includes TimeoutError
            self.end()
            if isinstance(error, TimeoutError):
                raise
            raise InternalError(f"the process that compiles grammars failed: {error}") from error
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        """Kills the process. Callable from any thread."""
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.end()
            path = os.pathsep.join(filter(None, [str(_ROOT), *sys.path]))
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                process_group=0,  # its parent handles Ctrl-C
            )
            try:
                _line(self._process, self._start_s)  # sent when its imports are complete
            except TimeoutError:  # not the schema's fault, so not a TimeoutError of `ask`
                raise ConnectionError(f"it did not start within {self._start_s:g} s") from None
        return self._process


def _line(process: subprocess.Popen[bytes], limit_s: float) -> bytes:
    """The next line of the process's output. Raises TimeoutError, or ConnectionError if it exits first."""
    assert process.stdout is not None
    pieces: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not pieces or not pieces[-1].endswith(b"\n"):
            if not selector.select(limit_s):
                raise TimeoutError
            piece = os.read(process.stdout.fileno(), 1 << 20)
            if not piece:
                raise ConnectionError("the process exited")
            pieces.append(piece)
    return b"".join(pieces)
