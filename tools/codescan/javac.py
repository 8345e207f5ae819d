"""Warnings of a JDK's compiler, ``javac -Xlint``, as findings. The program is compiled, and never run.

The compiler is a program of its own, with limits on time and memory. Annotation processors, which would be code of
the scanned program's author, are off.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.codescan.finding import Finding, Language, Report, Severity
from tools.java_text import masked

SECONDS = 30.0
MEMORY = "256m"
WARNINGS: dict[str, tuple[int, Severity, str]] = {
    "divzero": (369, Severity.MEDIUM, "Test the divisor before."),
    "empty": (1071, Severity.LOW, "Remove the semicolon after if."),
    "fallthrough": (484, Severity.LOW, "End the case with break, or use an arrow."),
    "finally": (584, Severity.LOW, "Move the jump out of finally."),
    "lossy-conversions": (681, Severity.MEDIUM, "Convert with Math.toIntExact, or compare with a limit before."),
    "overrides": (581, Severity.LOW, "Define hashCode together with equals."),
    "removal": (477, Severity.LOW, "Use what the documentation names instead."),
    "deprecation": (477, Severity.LOW, "Use what the documentation names instead."),
    "serial": (1066, Severity.LOW, "Declare serialVersionUID, or do not implement Serializable."),
    "synchronization": (662, Severity.MEDIUM, "Lock an object of your own."),
    "try": (772, Severity.LOW, "Use the resource inside the try block."),
    "unchecked": (843, Severity.LOW, "Give the type its arguments."),
}
"""Kinds of warnings that are reported, with weakness, severity and fix."""
_LINE = re.compile(r"^[^:\n]+\.java:(\d+): (error|warning): (?:\[([\w-]+)\] )?(.*)$", re.MULTILINE)
_PUBLIC = re.compile(
    r"^[ \t]*public\s+(?:(?:final|abstract|sealed|strictfp)\s+)*(?:class|interface|enum|record)\s+(\w+)", re.M
)


def javac_report(text: str, file: str = "<text>", javac: str | None = None) -> Report:
    """Compiles one file with all warnings on.

    Args:
        javac: path of the compiler; default: the one on PATH.

    Returns:
        A report. Its errors tell that there is no compiler, that it took too long, or where the text is not Java.
        Missing libraries are no error: a single file is compiled without them.
    """
    compiler = javac or shutil.which("javac")
    if compiler is None:
        return Report(Language.JAVA, file, errors=("javac: not found; install a JDK",))
    public = _PUBLIC.search(masked(text))
    with TemporaryDirectory(prefix="codescan-") as folder:
        source = Path(folder) / f"{public[1] if public else 'Program'}.java"
        source.write_text(text, encoding="utf-8", errors="replace")
        command = [
            compiler, f"-J-Xmx{MEMORY}", "-J-XX:+UseSerialGC", "-J-XX:TieredStopAtLevel=1", "-Xlint:all", "-proc:none",
            "-implicit:none", "-encoding", "UTF-8", "-classpath", folder, "-sourcepath", folder, "-d", folder,
            "-Xmaxwarns", "200", str(source),
        ]  # fmt: skip
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}  # none of javac's own variables
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return Report(Language.JAVA, file, errors=(f"javac: not finished within {SECONDS:g} s",))
        except OSError as error:
            return Report(Language.JAVA, file, errors=(f"javac: can't be started: {error}",))
    return _report(done.stderr.decode("utf-8", "replace"), file)


def _report(output: str, file: str) -> Report:
    findings, errors = [], []
    for line, kind, label, message in _LINE.findall(output):
        if kind == "error" and not re.search(r"cannot find symbol|does not exist|does not override", message):
            errors.append(f"line {line}: javac: {message}")
        elif label in WARNINGS:
            cwe, severity, fix = WARNINGS[label]
            findings.append(Finding(f"javac.{label}", cwe, severity, file, int(line), f"{message}.", fix))
    return Report(Language.JAVA, file, tuple(findings), tuple(errors[:5]))
