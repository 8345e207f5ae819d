"""A program that runs beside the platform: the console, Prometheus."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from agent.serve.tether import tethered
from flightloop import private

STOP_TIMEOUT_S = 0.5
"""A console takes longer to go by itself, and has nothing to lose; nor has Prometheus, which writes ahead."""


@contextmanager
def companion(
    command: list[str], log: Path, environment: Mapping[str, str], inherited: Sequence[int] = ()
) -> Iterator[None]:
    """The program, for as long as the context is open, in a process group of its own so that Ctrl-C reaches us first.

    Its log, and what it writes by the umask, is its user's alone.

    Args:
        environment: added to our own, of which it gets neither settings nor keys.
        inherited: descriptors that it gets.
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
    """Without what may hold a key: other processes of the same user can read a program's environment."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith("FLIGHTLOOP_CONSOLE_") or not name.startswith(("FLIGHTLOOP_", "RAY_"))
    }
