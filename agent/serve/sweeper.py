"""Ends what a killed driver leaves of its Ray session: ``python -m agent.serve.sweeper SESSION``.

Ray's servers end with the driver that started them. Its workers notice only after some seconds, its agents after more
than a minute; meanwhile the HTTP proxy keeps its port. The sweeper waits for the end of its input, which is that of the
driver, and kills them at once. After a clean stop it finds nobody.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

TITLE = "ray::"
"""How the command lines of Ray's workers and agents begin,"""
BEGINNING = "default_worker.py"
"""and what is in that of a worker until it gives itself a title."""
SWEEP_S = 3.0
PAUSE_S = 0.05


@contextmanager
def swept(session: str) -> Iterator[None]:
    """Nothing is left of the session behind this context, nor behind this process.

    Args:
        session: the folder of Ray's session, which this process has begun.
    """
    # A session of its own: it outlives a signal to the whole group of its parent.
    sweeper = subprocess.Popen(
        [sys.executable, "-P", "-m", "agent.serve.sweeper", session], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        assert sweeper.stdin is not None
        sweeper.stdin.close()
        sweeper.wait()


def sweep(session: Path) -> None:
    """Kills the session's workers and agents until none is found, for ``SWEEP_S`` at most."""
    end = time.monotonic() + SWEEP_S
    while (found := left_of(session)) and time.monotonic() < end:
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(PAUSE_S)


def left_of(session: Path) -> list[psutil.Process]:
    """Workers and agents of Ray that have a file of the session's folder open, as their logs are."""
    return [process for process in psutil.process_iter(["cmdline"]) if _belongs(process, session)]


def _belongs(process: psutil.Process, session: Path) -> bool:
    command = " ".join(process.info["cmdline"] or [])
    if not command.startswith(TITLE) and BEGINNING not in command:
        return False
    with suppress(psutil.Error):  # gone, or another user's
        return any(session in Path(file.path).parents for file in process.open_files())
    return False


def main() -> None:
    sys.stdin.buffer.read()
    sweep(Path(os.path.realpath(sys.argv[1])))


if __name__ == "__main__":
    main()
