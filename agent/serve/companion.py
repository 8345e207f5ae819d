"""Companion programs of the platform: console and Prometheus."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from agent.serve.tether import tethered
from flightloop import private

STOP_TIMEOUT_S = 0.5
"""Seconds until SIGKILL. Neither program needs longer: the console stores nothing, Prometheus has a write-ahead log."""


@contextmanager
def companion(
    command: list[str], log: Path, environment: Mapping[str, str], inherited: Sequence[int] = ()
) -> Iterator[None]:
    """Runs a program while the context is open, in its own process group so that Ctrl-C reaches the platform first.

    Its log and the files it creates are private to the user.

    Args:
        environment: added to the platform's environment, from which its settings and keys are removed.
        inherited: file descriptors to pass on.
    """
    private.folder(log.parent)
    with open(log, "ab", opener=private.opener) as output:
        process = subprocess.Popen(
            tethered(command),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**_without_settings(os.environ), **environment},
            process_group=0,
            umask=private.OTHERS,
            pass_fds=inherited,
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


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings and keys, because other processes of the same user can read it."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith("FLIGHTLOOP_CONSOLE_") or not name.startswith(("FLIGHTLOOP_", "RAY_"))
    }
