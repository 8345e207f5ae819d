"""Runs the engine in a process of its own: ``python -m bench.engine.child JOB``. Job and output are JSON.

``{"job": "start", "config": {...}}`` loads the model, creates the engine, generates one token, prints the memory in
use, and exits. ``{"job": "steps", "config": {...}, "tokens": ...}`` does the same, but before it exits, it decodes
``tokens`` tokens for every line of input, and prints the median time of a step.

``config`` has the fields of `ModelConfig`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "Once upon a time"


@dataclass(frozen=True)
class Start:
    """Seconds from the process's start to the first token, and peak memory in bytes."""

    seconds: float
    memory: int


def started(config: Mapping[str, Any]) -> Start:
    """Starts an engine in a new process."""
    began = time.perf_counter()
    with _child({"job": "start", "config": dict(config)}) as child:
        assert child.stdout is not None
        answer = json.loads(child.stdout.readline())
        return Start(time.perf_counter() - began, answer["peak"])


class Stepper:
    """An engine in another process that decodes on request; a context manager."""

    def __init__(self, config: Mapping[str, Any], tokens: int) -> None:
        self._job = {"job": "steps", "config": dict(config), "tokens": tokens}
        self._context = _child(self._job)

    def __enter__(self) -> Stepper:
        self._child = self._context.__enter__()
        assert self._child.stdout is not None
        self._child.stdout.readline()  # after its first token
        return self

    def __exit__(self, *reason: Any) -> None:
        self._context.__exit__(*reason)

    def milliseconds(self) -> float:
        """Decodes once and returns the median time of a step, in milliseconds."""
        return 1e3 * float(self._decoded()["step_seconds"])

    def tokens_per_second(self) -> float:
        """Decodes once and returns the tokens per second."""
        answer = self._decoded()
        return float(answer["tokens"]) / float(answer["seconds"])

    def _decoded(self) -> Any:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        return json.loads(self._child.stdout.readline())


@contextmanager
def _child(job: Mapping[str, Any]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bench.engine.child", json.dumps(job)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as child:
        try:
            yield child
        finally:
            assert child.stdin is not None
            child.stdin.close()  # it ends with its input


def main(job: Mapping[str, Any]) -> None:
    # Imported here, so that the parent's import of this module stays light.
    from bench.engine.quiet import only_warnings
    from bench.engine.subject import standalone
    from bench.peers.protocol import memory

    only_warnings()  # standard output is for answers
    subject = standalone(job["config"])
    subject.prefill(tokens=8, seed=0)
    _say(memory())
    if job["job"] == "steps":
        for seed, _ in enumerate(sys.stdin):
            _say(subject.decode(streams=1, prompt_tokens=32, new_tokens=job["tokens"], seed=seed))


def _say(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
