"""Tasks and answers of peers, the same for every engine. Needs only the standard library.

A peer is a script in an environment of its own. It loads its model once, then reads one JSON object per line and
answers each with a JSON object. Times are in seconds, measured by the peer's own monotonic clock, so they exclude pipes
and JSON.

========================================================  ===========================================================
``{"task": ...``                                          answer
========================================================  ===========================================================
``about``                                                 ``version``, and what is known of the build and settings
``memory``                                                ``rss``, ``peak``: bytes of the process and its children
``decode``, streams, prompt_tokens, new_tokens, seed      ``seconds``, ``tokens``: from the moment when every stream has
                                                          its first token to the last token; greedy, end tokens ignored
``prefill``, tokens, seed                                 ``seconds`` until the first token is known
``warm_prefix``, first, added, seed                       ``first_seconds``, ``second_seconds``: until the first token,
                                                          of a prompt and of its continuation
``toolcalls``, requests: ``{prompt, schema, most}``       ``seconds``, ``ids`` of each answer without its end token: all
                                                          at once, greedy, each forced into its JSON Schema, at most
                                                          ``most`` tokens
``perplexity``, tokens, context                           ``nll`` (nats, summed) and ``count`` of scored tokens
``tune``, like: another task                              ``tried``, ``settings``: runs that task once with each of the
                                                          peer's settings, and uses the fastest for tasks of that kind
========================================================  ===========================================================

Prompts are lists of token ids, so that tokenizers aren't measured. A task that fails is answered with ``error``.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

Answer = dict[str, Any]
Task = Mapping[str, Any]

_ORDINARY = range(1_000, 40_000)
"""Token ids of ordinary words in the embedded model's vocabulary, without special tokens."""


class Engine(Protocol):
    """Interface of a peer's script. For each task of the table that it supports, it has a method of that name."""

    def settings(self, task: Task) -> list[dict[str, Any]]:
        """Settings to try for this task, as additional arguments of its method; the first is the default."""
        ...


def prompt(seed: int, stream: int, tokens: int) -> list[int]:
    """Token ids of a prompt, different for each seed and stream, but the same for every engine."""
    return random.Random(1_000 * seed + stream).choices(_ORDINARY, k=tokens)


def windows(tokens: Sequence[int], context: int) -> Iterator[Sequence[int]]:
    """Windows of a text for its perplexity, without overlap and without an incomplete last one.

    Each window is computed independently, and every token except the first is scored. So all engines see at most
    ``context`` tokens and score the same ones.
    """
    for begin in range(0, len(tokens) - context + 1, context):
        yield tokens[begin : begin + context]


def memory() -> Answer:
    """Resident memory of this process and its descendants, current and peak (Linux)."""
    now = peak = 0
    for process in _family(os.getpid()):
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:  # it has just ended
            continue
        sizes = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Vm")}
        now += 1024 * int(sizes.get("VmRSS", 0))
        peak += 1024 * int(sizes.get("VmHWM", 0))
    return {"rss": now, "peak": peak}


def _family(process: int) -> Iterator[int]:
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


class Desk:
    """Answers a peer's tasks, and remembers the fastest settings for each kind of task."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._best: dict[tuple[Any, ...], dict[str, Any]] = {}

    def answer(self, task: Task) -> Answer:
        """Answers a task. Never raises: an error becomes the answer."""
        try:
            return self._tune(task["like"]) if task["task"] == "tune" else self._run(task, self._chosen(task))
        except Exception as error:
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}"}

    def _tune(self, task: Task) -> Answer:
        tried = []
        for settings in self._engine.settings(task):
            self._run(task, settings)  # a warm-up for allocation and compilation
            answer = self._run(task, settings)
            tried.append({**settings, "seconds": answer["seconds"]})
        quickest = min(range(len(tried)), key=lambda index: float(tried[index]["seconds"]))
        self._best[_kind(task)] = self._engine.settings(task)[quickest]
        return {"tried": tried, "settings": self._best[_kind(task)]}

    def _chosen(self, task: Task) -> dict[str, Any]:
        return self._best.get(_kind(task)) or self._engine.settings(task)[0]

    def _run(self, task: Task, settings: Mapping[str, Any]) -> Answer:
        name = task["task"]
        if name == "memory":
            return memory()
        method = getattr(self._engine, str(name), None)
        if method is None or str(name).startswith("_"):
            raise ValueError(f"unknown task {name}")
        arguments = {key: value for key, value in task.items() if key != "task"}
        return {**method(**arguments, **settings), **({"settings": dict(settings)} if settings else {})}


def _kind(task: Task) -> tuple[Any, ...]:
    return task["task"], task.get("streams"), task.get("tokens") if task["task"] == "prefill" else None


def serve(load: Callable[[Mapping[str, Any]], Engine]) -> None:
    """Main loop of a peer's script: loads with the command line's options, then answers tasks until the input ends."""
    answers = _own_stdout()
    began = time.perf_counter()
    desk = Desk(load(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}))
    _say(answers, {"ready": True, "load_seconds": time.perf_counter() - began})
    for line in sys.stdin:
        if line.strip():
            _say(answers, desk.answer(json.loads(line)))


def _own_stdout() -> TextIO:
    # Libraries print to stdout. From here on, their output goes to the log, and only answers go to the caller.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _say(answers: TextIO, answer: Answer) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
