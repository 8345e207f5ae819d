"""Runs programs of an installed JDK, the compiler and the virtual machine, confined like Python.

They get no sockets and no processes, read the JDK and their scratch folder only, and have limits on time, memory and
output.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flightloop.tool import ToolRefused
from tools.builtin.forked import Pipes, end, in_words
from tools.sandbox import landlock, rules, seccomp
from tools.sandbox.confinement import die_with_parent
from tools.sandbox.limits import Limits
from tools.sandbox.reading import DEVICES

LEAST_VERSION = 17
USUAL = "/usr/bin:/usr/lib/jvm/default-java/bin"
MOST_OUTPUT = 256 * 1024
LIMITS = Limits(memory=1900 * 1024**2, file_size=8 * 1024**2, open_files=128, cpu=40)
OPTIONS = (
    "-Xmx192m", "-Xss2m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:CompressedClassSpaceSize=48m",
    "-XX:ReservedCodeCacheSize=32m", "-XX:-UsePerfData", "-Xshare:auto", "-Djava.awt.headless=true",
)  # fmt: skip
_VERSION = re.compile(r'^JAVA_VERSION="(?:1\.)?(\d+)', re.M)


@dataclass(frozen=True)
class Done:
    """A finished process. ``exit``: ``ok``, ``error N``, or why it was stopped."""

    output: str
    exit: str
    cut: bool
    """Whether it wrote more than is kept."""


def run(program: str, arguments: Sequence[str], folder: Path, seconds: float) -> Done:
    """Runs ``java`` or ``javac`` in the sandbox.

    Args:
        folder: its working folder, the only one that it may write to, also for temporary files.
        seconds: wall time after which it is killed.

    Raises:
        ToolRefused: the system has no suitable JDK, or no Landlock.
    """
    home = jdk()
    if not landlock.version():
        raise ToolRefused("This system has no Landlock to keep Java from its files, so the program was not run.")
    options = [*OPTIONS, f"-Djava.io.tmpdir={folder}"]  # the machine doesn't read TMPDIR
    given = [f"-J{option}" for option in options] if program == "javac" else options
    command = [str(home / "bin" / program), *given, *arguments]
    environment = {"LANG": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)}

    def enter() -> None:
        os.setsid()
        die_with_parent()
        readable = [home, *_linked(home), *map(Path, ("/usr/lib", "/lib", "/lib64", "/proc/self")), *DEVICES]
        landlock.restrict(readable, [folder.resolve()], execute=True)
        LIMITS.apply()
        seccomp.install(rules.of_virtual_machine(signals=landlock.version() >= landlock.SCOPE_VERSION))

    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, preexec_fn=enter,
    )  # fmt: skip
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    pipes = Pipes({pipe: MOST_OUTPUT})
    try:
        in_time = pipes.read(time.monotonic() + seconds)
    finally:
        process.stdout.close()
        status = end(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for
    output = bytes(pipes.kept[pipe]).decode("utf-8", "replace")
    return Done(output, in_words(status, in_time, seconds), pipes.cut)


def jdk(path: str | None = None, others: str = USUAL) -> Path:
    """The folder of the JDK whose compiler is on the PATH. Raises ToolRefused.

    Args:
        path: folders to search instead of those on the PATH.
        others: folders to search afterwards.
    """
    needed = f"Java needs a JDK of version {LEAST_VERSION} or later on the machine that runs the tools"
    found = shutil.which("javac", path=path) or shutil.which("javac", path=others)
    if found is None:
        raise ToolRefused(f"{needed}, and no javac is on its PATH: install one (Debian: default-jdk-headless).")
    home = Path(os.path.realpath(found)).parents[1]
    version = version_of(home)
    if version is not None and version < LEAST_VERSION:
        raise ToolRefused(f"{needed}; the javac on its PATH, {found}, is of version {version}: install a later one.")
    return home


def _linked(home: Path) -> list[Path]:
    """The folder with the JDK's settings, and its file of certificates. Debian keeps both in /etc, with links to them
    in the JDK."""
    settings = os.path.realpath(home / "conf" / "security" / "java.security")
    return [Path(settings).parents[1], Path(os.path.realpath(home / "lib" / "security" / "cacerts"))]


def version_of(home: Path) -> int | None:
    """Feature version of a JDK, such as 17; None if its file ``release`` does not say."""
    try:
        named = _VERSION.search((home / "release").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return int(named[1]) if named else None
