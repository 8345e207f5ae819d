"""Runs a program that is killed when its parent ends: ``python -m agent.serve.tether PARENT COMMAND …``.

The kernel sends the signal when the thread that started the program ends, so start it from a long-lived thread.
Only Linux has this signal; on other systems the program is not killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def tethered(command: Sequence[str]) -> list[str]:
    """Command that runs ``command`` as a child that is killed when this process ends."""
    return [sys.executable, "-P", "-m", "agent.serve.tether", str(os.getpid()), *command]


def main() -> None:
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # stays set across exec
    if os.getppid() == int(parent):  # otherwise the parent ended before prctl
        os.execvp(command[0], command)


if __name__ == "__main__":
    main()
