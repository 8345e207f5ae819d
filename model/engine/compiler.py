"""Grammars of requests, made in a process that can be ended: no schema may take longer than its time.

Compiling runs inside the library and through Python's own interpreter lock. In a thread it could neither be given up nor
kept from the engine's way.
"""

from __future__ import annotations

import hashlib
import json
import os
import selectors
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

from flightloop.chat import ChatRequest
from flightloop.errors import InternalError, InvalidRequest

LIMIT_S = 3.0
"""Longest time for the schemas of one request. Thirty ordinary tools take some 50 ms."""
START_S = 60.0
PROCESSES = 2
"""Compile at a time, so that one slow schema does not keep all others waiting."""
CACHED = 256
COMMAND = (sys.executable, "-m", "model.engine.compiling")
_ROOT = Path(__file__).resolve().parents[2]


class GrammarCompiler:
    """Gives requests their grammars, and remembers the latest. Safe to use from any thread.

    Args:
        limit_s: seconds for one request's schemas.
        processes: how many are compiled at a time; each process starts when it is first needed.
        command: starts a process that speaks ``model.engine.compiling``'s protocol.
    """

    def __init__(self, limit_s: float = LIMIT_S, processes: int = PROCESSES, command: Sequence[str] = COMMAND) -> None:
        self._limit_s = limit_s
        self._lock = Lock()
        self._known: OrderedDict[str, str | InvalidRequest | None] = OrderedDict()
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._processes = [_Process(command) for _ in range(processes)]
        for process in reversed(self._processes):
            self._idle.put(process)

    def grammar(self, request: ChatRequest) -> str | None:
        """As ``model.engine.grammar.grammar_for``.

        Raises:
            InvalidRequest: contradicting fields, a schema that can't be compiled, or one that takes too long.
        """
        if not request.tools and request.response_format is None and request.tool_choice in (None, "auto", "none"):
            return None
        question = _question(request)
        key = hashlib.sha256(question).hexdigest()
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
        found = self._known.get(key, _UNKNOWN)
        if found is _UNKNOWN:
            found = self._compiled(question, request)
            with self._lock:
                self._known[key] = found
                while len(self._known) > CACHED:
                    self._known.popitem(last=False)
        if isinstance(found, InvalidRequest):
            raise InvalidRequest(found.message, param=found.param)
        return found  # type: ignore[return-value]

    def close(self) -> None:
        """Ends the processes; what they are at is given up."""
        for process in self._processes:
            process.end()

    def _compiled(self, question: bytes, request: ChatRequest) -> str | InvalidRequest | None:
        process = self._idle.get()
        try:
            answer = process.ask(question, self._limit_s)
        except TimeoutError:
            param = "tools" if request.tools else "response_format.json_schema.schema"
            told = f"{param}: compiling takes longer than {self._limit_s:g} s; simplify the schema: fewer alternatives"
            return InvalidRequest(f"{told} (anyOf, allOf, patternProperties), fewer and shorter patterns", param=param)
        finally:
            self._idle.put(process)
        if "message" in answer:
            return InvalidRequest(answer["message"], param=answer["param"])
        grammar: str | None = answer["grammar"]
        return grammar


_UNKNOWN: Any = object()


def _question(request: ChatRequest) -> bytes:
    """What of a request has a say in its grammar, as one line."""
    fields = {"tools", "tool_choice", "parallel_tool_calls", "response_format"}
    return json.dumps(request.model_dump(mode="json", by_alias=True, include=fields)).encode() + b"\n"


class _Process:
    """A process that compiles, started when it is asked and again after it was ended. Asked by one thread at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, question: bytes, limit_s: float) -> dict[str, Any]:
        """Raises TimeoutError, with the process ended, and InternalError if it ends by itself."""
        try:
            process = self._running()
            assert process.stdin is not None
            process.stdin.write(question)
            process.stdin.flush()
            line = _line(process, limit_s)
        except OSError as error:  # TimeoutError is one, too
            self.end()
            if isinstance(error, TimeoutError):
                raise
            raise InternalError(f"the process that compiles grammars failed: {error}") from error
        answer: dict[str, Any] = json.loads(line)
        return answer

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
                process_group=0,  # Ctrl-C is its parent's to handle
            )
            _line(self._process, START_S)  # it has imported what it needs
        return self._process


def _line(process: subprocess.Popen[bytes], limit_s: float) -> bytes:
    """The next line that the process writes. Raises TimeoutError, and ConnectionError if it ends before."""
    assert process.stdout is not None
    pieces: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not pieces or not pieces[-1].endswith(b"\n"):
            if not selector.select(limit_s):
                raise TimeoutError
            piece = os.read(process.stdout.fileno(), 1 << 20)
            if not piece:
                raise ConnectionError("it ended")
            pieces.append(piece)
    return b"".join(pieces)
