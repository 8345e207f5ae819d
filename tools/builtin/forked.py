"""Runs untrusted code in a process forked from the tool host.

The host already has no network. The process also loses access to files outside its scratch folder except Python's own
(Landlock), can't start processes (seccomp), and gets limits on CPU, memory, file sizes and open files.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import sysconfig
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from flightloop.tool import ToolRefused
from tools.sandbox import landlock, rules, seccomp
from tools.sandbox.confinement import die_with_parent
from tools.sandbox.limits import Limits
from tools.sandbox.reading import DEVICES

LIMITS = Limits(memory=1024**3, file_size=8 * 1024**2, open_files=32, cpu=5)
REPORT = 3
"""Descriptor in the child to which ``work`` writes its report."""
_REASONS: dict[int, str] = {signal.SIGXCPU: "too much CPU time", signal.SIGXFSZ: "too big a file"}


@dataclass(frozen=True)
class Ended:
    """End of the process, and its output."""

    output: bytes
    """Standard output and error together."""
    report: bytes
    """Output of ``work`` to the descriptor ``REPORT``."""
    cut: bool
    """Whether one of both was cut."""
    exit: str
    """``ok``, ``error N``, or why it was stopped."""


def run_forked(
    work: Callable[[], int], *, seconds: float, output_bytes: int, report_bytes: int = 0, limits: Limits = LIMITS
) -> Ended:
    """Runs ``work`` in a forked process. Its result is the exit status.

    Args:
        seconds: wall time after which the process is killed.
        output_bytes: maximum length of the output; the rest is dropped.
        report_bytes: maximum length of the report.

    Raises:
        ToolRefused: the system has no Landlock.
    """
    if not landlock.version():
        raise ToolRefused("This system has no Landlock to keep Python from its files, so the program was not run.")
    scratch = Path(tempfile.mkdtemp(prefix="python-"))  # removed with the host's scratch folder after the call
    output, sink = os.pipe()
    report, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(work, scratch, sink, told, limits)
    os.close(sink)
    os.close(told)
    pipes = Pipes({output: output_bytes, report: report_bytes})
    try:
        in_time = pipes.read(time.monotonic() + seconds)
    finally:
        os.close(output)
        os.close(report)
        status = end(pid)
    ended = in_words(status, in_time, seconds)
    return Ended(bytes(pipes.kept[output]), bytes(pipes.kept[report]), pipes.cut, ended)


class Pipes:
    """Reads pipes until a deadline. ``most``: bytes to keep by descriptor."""

    def __init__(self, most: dict[int, int]) -> None:
        self._most = most
        self.kept = {pipe: bytearray() for pipe in most}
        self.cut = False

    def read(self, deadline: float) -> bool:
        """Reads until all pipes are closed. Returns False if the deadline came first."""
        still = set(self._most)
        while still and (left := deadline - time.monotonic()) > 0:
            for pipe in select.select(list(still), [], [], left)[0]:
                chunk = os.read(pipe, 65536)
                if not chunk:
                    still.discard(pipe)
                room = self._most[pipe] - len(self.kept[pipe])
                self.cut = self.cut or len(chunk) > room
                self.kept[pipe] += chunk[:room]
        return not still


def end(pid: int) -> int:
    """Kills the program's process group, or only the program, and returns its wait status."""
    for kill in (os.killpg, os.kill):  # the group exists once the child has created it
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return os.waitpid(pid, 0)[1]


def in_words(status: int, in_time: bool, seconds: float) -> str:
    """How a process ended, by its wait status."""
    if not in_time:
        return f"stopped after {seconds:g} s"
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"stopped: {_REASONS.get(-code) or _name(-code)}"
    return "ok" if code == 0 else f"error {code}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _child(work: Callable[[], int], scratch: Path, sink: int, told: int, limits: Limits) -> NoReturn:
    status = 1
    try:
        os.setsid()
        die_with_parent()
        nothing = os.open(os.devnull, os.O_RDONLY)
        spare = os.dup(told) if told <= REPORT else told  # it must survive the descriptors below it
        for source, target in ((nothing, 0), (sink, 1), (sink, 2), (spare, REPORT)):
            os.dup2(source, target)
        os.closerange(REPORT + 1, 4096)
        os.chdir(scratch)
        os.environ.clear()
        os.environ.update(HOME=str(scratch), TMPDIR=str(scratch), LANG="C.UTF-8")
        tempfile.tempdir = str(scratch)  # the host has already looked it up
        landlock.restrict(_pythons_own(), [scratch])
        limits.apply()
        seccomp.install(rules.of_program(signals=landlock.version() >= landlock.SCOPE_VERSION))
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _pythons_own() -> list[Path]:
    """The standard library, and the libraries that its extension modules link to."""
    named = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [
        *(Path(path) for path in (sys.base_prefix, *named, "/usr/lib", "/usr/share/zoneinfo", "/lib", "/lib64")),
        *DEVICES,
    ]
