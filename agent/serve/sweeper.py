"""Kills processes of a Ray session whose driver was killed: ``python -m agent.serve.sweeper SESSION``.

Ray's servers end with their driver. Workers notice that only after seconds, agents after more than a minute, and
meanwhile the HTTP proxy keeps its port. The sweeper waits until its standard input closes, which happens when the
driver ends, and kills workers and agents at once. After a clean stop none are left.
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
"""Prefix of the command lines of Ray's workers and agents."""
BEGINNING = "default_worker.py"
"""Part of a worker's command line before it sets its title."""
SWEEP_S = 3.0
PAUSE_S = 0.05


@contextmanager
def swept(session: str) -> Iterator[None]:
    """Ends all processes of a Ray session when this context ends, or this process if it is killed first.

    Args:
        session: folder of the Ray session that this process started.
    """
    # In its own session, so that a signal to its parent's group does not kill it.
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
    """Kills the session's workers and agents until none is left, for at most ``SWEEP_S``."""
    end = time.monotonic() + SWEEP_S
    while (found := left_of(session)) and time.monotonic() < end:
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(PAUSE_S)


def left_of(session: Path) -> list[psutil.Process]:
    """Ray workers and agents with an open file in the session's folder, such as their logs."""
    return [process for process in psutil.process_iter(["cmdline"]) if _belongs(process, session)]


def _belongs(process: psutil.Process, session: Path) -> bool:
    command = " ".join(process.info["cmdline"] or [])
    if not command.startswith(TITLE) and BEGINNING not in command:
        return False
    with suppress(psutil.Error):  # it has ended, or belongs to another user
        return any(session in Path(file.path).parents for file in process.open_files())
    return False


def main() -> None:
    sys.stdin.buffer.read()
    sweep(Path(os.path.realpath(sys.argv[1])))


if __name__ == "__main__":
    main()
