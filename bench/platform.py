"""Runs a whole platform in processes of its own, for demos, measurements and acceptance tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import httpx

from agent.serve.http_server import bind
from agent.serve.tether import tethered
from flightloop import private

READY_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 60.0


class PlatformFailed(RuntimeError):
    """The platform did not start or stop; the message includes the last lines of its log."""


@dataclass
class Platform:
    """Runs ``python -m agent up`` (or ``serve``) while the context is open, or until its thread ends.

    Args:
        home: folder of the platform's state, and of its log ``platform.log``.
        port: port of the HTTP API.
        options: further command-line options of ``up``.
        environment: settings in addition to this process's environment.
        progress: called repeatedly with the current activity and the seconds so far.
        command: ``up``, or ``serve``, which runs without Ray and needs a model's URL.

    Raises:
        ConfigError: on entering, if the port is taken.
        PlatformFailed: the platform did not start, or did not stop.
    """

    home: Path
    port: int = 8000
    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[str, float], None] = lambda what, seconds: None
    command: str = "up"
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.home / "platform.log"

    @property
    def key(self) -> str:
        return os.environ.get("FLIGHTLOOP_API_KEY") or (self.home / "key").read_text().strip()

    @property
    def console(self) -> str | None:
        """Login link of the console, valid once; None until ``up`` has printed it."""
        found = re.search(r"^Console +(\S+)", self.log.read_text(errors="replace"), re.MULTILINE)
        return found[1] if found else None

    @property
    def _has_console(self) -> bool:
        return self.command == "up" and "--no-console" not in self.options

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def __enter__(self) -> Platform:
        # Another program on the port would answer in place of this platform.
        bind("127.0.0.1", self.port).close()
        private.folder(self.home)
        environment = {**os.environ, "FLIGHTLOOP_HOME": str(self.home.resolve()), **self.environment}
        command = tethered([sys.executable, "-m", "agent", self.command, "--port", str(self.port), *self.options])
        with open(self.log, "wb", opener=private.opener) as log:  # ``up`` prints the console's login link there
            os.fchmod(log.fileno(), 0o600)  # an existing file keeps its mode otherwise
            # A session of its own: Ctrl-C reaches only this process, which then stops the platform properly.
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        began = time.monotonic()
        while (waited := time.monotonic() - began) < READY_TIMEOUT_S:
            if self._process is not None and self._process.poll() is not None:
                raise PlatformFailed(f"the platform ended while starting:\n{self.tail()}")
            if self._answers() and (self.console or not self._has_console):
                return
            self.progress("starting Ray, the model, a worker and the API", waited)
            time.sleep(0.25)
        raise PlatformFailed(f"the platform was not ready after {READY_TIMEOUT_S:.0f} s:\n{self.tail()}")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False  # not listening yet

    def stop(self, by: signal.Signals = signal.SIGINT) -> int | None:
        """Sends the signal, waits for the platform's end, and returns its exit code; None if it was not running.

        Raises:
            PlatformFailed: the platform didn't stop in time, and was killed.
        """
        process = self._process
        if process is None:
            return None
        self._process = None
        if process.poll() is None:
            process.send_signal(by)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise PlatformFailed(f"the platform did not stop within {STOP_TIMEOUT_S:.0f} s:\n{self.tail()}") from None
        return process.returncode

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
