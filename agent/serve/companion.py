"""A program that runs beside the platform: the console, Prometheus."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flightloop import private

STOP_TIMEOUT_S = 10.0


@contextmanager
def companion(command: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """The program, for as long as the context is open, in a process group of its own so that Ctrl-C reaches us first.

    Its log, and what it writes by the umask, is its user's alone.
    """
    private.folder(log.parent)
    with open(log, "ab", opener=private.opener) as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            process_group=0,
            umask=private.OTHERS,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
