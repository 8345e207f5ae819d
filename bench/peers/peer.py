"""A peer: another program to compare with, in a process and environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.peers.environment import PeerError, python_of

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_STOP_S = 20.0
OURS = ("fake", "flightloop", "tuner")
"""Prefixes of programs that run in our environment."""


class Peer:
    """Runs a peer while the context is open; `bench.peers.protocol` lists the tasks.

    Args:
        name: a peer of `bench.peers.environment`; or ``tuner``, ``flightloop`` (ours), ``fake``, ``fake_bfcl``,
            ``fake_agentdojo``, ``fake_runtime`` or ``fake_tuner`` (for tests), which run in our environment.
        log: file for the program's output; default: a temporary one, see ``log``.
        start_timeout_s, timeout_s: time limits of loading and of one answer, in seconds.
        environment: additional variables, such as ``OMP_WAIT_POLICY``, which is not inherited.
        options: options of the script; see its docstring.

    Attributes:
        log: file with the program's output.
        loaded_s: seconds from the start of the process until it was ready.
        started_at: start of the process, in seconds of `time.perf_counter`.

    Raises:
        PeerError: on entering, if the peer's environment is missing or the peer did not start.
    """

    def __init__(
        self,
        name: str,
        log: Path | None = None,
        start_timeout_s: float = 600.0,
        timeout_s: float = 1800.0,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.name = name
        self.log = log or Path(tempfile.gettempdir()) / f"flightloop-peer-{name}-{os.getpid()}.log"
        self.loaded_s = self.started_at = 0.0
        self._options = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
        self._environment = dict(environment or {})
        self._start_timeout_s, self._timeout_s = start_timeout_s, timeout_s
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Peer:
        python = Path(sys.executable) if self.name.startswith(OURS) else python_of(self.name)
        # -P: the script's folder isn't searched for modules, where a file may have a library's name.
        command = [str(python), "-P", str(_HERE / f"run_{self.name}.py"), json.dumps(self._options)]
        with self.log.open("w") as log:
            self.started_at = time.perf_counter()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                cwd=_ROOT,
                env={**_environment(), **self._environment},
            )
        try:
            self._read(self._start_timeout_s, "start")
        except PeerError:
            self.close()
            raise
        self.loaded_s = time.perf_counter() - self.started_at
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def ask(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """The peer's answer.

        Raises:
            PeerError: the peer can't do the task, ended, or took too long (it is then killed).
        """
        assert self._process is not None, "a peer must be used inside its context"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failed("has ended") from error
        answer = self._read(self._timeout_s, "answer")
        if "error" in answer:
            raise PeerError(f"{self.name} could not do {task.get('task')}: {answer['error']} (log: {self.log})")
        return answer

    def close(self) -> None:
        """Ends the process, if it still runs."""
        process = self._process
        if process is None:
            return
        self._process = None
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # its loop ends with its input
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _read(self, timeout_s: float, what: str) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout_s, end)
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
            timer.join()
        if late.is_set():
            raise self._failed(f"did not {what} within {timeout_s:.0f} s")
        if not line:
            raise self._failed(f"ended before its {what}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failed(self, what: str) -> PeerError:
        lines = self.log.read_text(errors="replace").splitlines()
        return PeerError("\n".join([f"{self.name} {what}; the last lines of {self.log}:", *lines[-15:]]))


def _environment() -> dict[str, str]:
    # The script sets the number of threads itself; nothing may be downloaded.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_", "VLLM_"))}
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    return {**kept, **offline, "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"}
