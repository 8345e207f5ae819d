"""Runs a program that ends with its parent, however that ends: ``python -m agent.serve.tether PARENT COMMAND …``.

The kernel sends the signal when the parent's thread ends that started the program: start it from a thread that lasts.
Elsewhere than on Linux there is no such signal, and the program stays.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def tethered(command: Sequence[str]) -> list[str]:
    """The command that runs another one as a child that this process does not leave behind."""
    return [sys.executable, "-P", "-m", "agent.serve.tether", str(os.getpid()), *command]


def main() -> None:
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # survives the execution below
    if os.getppid() == int(parent):  # else it has ended before the kernel was asked
        os.execvp(command[0], command)


if __name__ == "__main__":
    main()
