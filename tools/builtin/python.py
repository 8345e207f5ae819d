"""Tool that runs Python in a separate process.

The process is forked from the tool host, which already has no network. It also loses access to files outside its
scratch folder except Python's own (Landlock), can't start processes (seccomp), and gets limits on CPU, memory, file
sizes and open files.
"""

from __future__ import annotations

import ast
import os
import select
import signal
import sys
import sysconfig
import time
import traceback
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any, NoReturn

from pydantic import Field

from flightloop.tool import ToolRefused, tool
from tools.sandbox import landlock, rules, seccomp
from tools.sandbox.confinement import die_with_parent
from tools.sandbox.limits import Limits
from tools.sandbox.reading import DEVICES

WALL_SECONDS = 10.0
MAX_OUTPUT_BYTES = 16 * 1024
LIMITS = Limits(memory=1024**3, file_size=8 * 1024**2, open_files=32, cpu=5)


@tool(effect="pure", timeout_s=20, permissions=("subprocess",), returns_untrusted=True)
def run_python(code: Annotated[str, Field(min_length=1, max_length=8000)]) -> Any:
    """Run a short Python program and return what it prints. It has no network and no files.

    Args:
        code: the program
    """
    if not landlock.version():
        raise ToolRefused("This system has no Landlock to keep Python from its files, so the program was not run.")
    scratch = Path(mkdtemp(prefix="python-"))  # removed with the host's scratch folder after the call
    output, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(code, scratch, sink)
    os.close(sink)
    try:
        text, cut, in_time = _collect(output, time.monotonic() + WALL_SECONDS)
    finally:
        os.close(output)
        status = _end(pid)
    result: dict[str, Any] = {"output": text, "exit": _in_words(status, in_time)}
    if cut:
        result["note"] = f"the output was cut after {MAX_OUTPUT_BYTES} bytes"
    return result


def _collect(output: int, deadline: float) -> tuple[str, bool, bool]:
    """Returns the output, whether it was cut, and whether the program closed it before the deadline."""
    kept, cut = bytearray(), False
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([output], [], [], left)[0]:
            break
        chunk = os.read(output, 65536)
        if not chunk:
            return kept.decode("utf-8", "replace"), cut, True
        room = MAX_OUTPUT_BYTES - len(kept)
        cut = cut or len(chunk) > room
        kept += chunk[:room]
    return kept.decode("utf-8", "replace"), cut, False


def _end(pid: int) -> int:
    """Kills the program's process group, or only the program, and returns its wait status."""
    for kill in (os.killpg, os.kill):  # the group exists once the child has created it
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return os.waitpid(pid, 0)[1]


def _in_words(status: int, in_time: bool) -> str:
    if not in_time:
        return f"stopped after {WALL_SECONDS:g} s"
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        reason = {signal.SIGXCPU: "too much CPU time", signal.SIGXFSZ: "too big a file"}.get(signal.Signals(-code))
        return f"stopped: {reason or signal.Signals(-code).name}"
    return "ok" if code == 0 else f"error {code}"


def _child(code: str, scratch: Path, sink: int) -> NoReturn:
    try:
        os.setsid()
        die_with_parent()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (sink, 1), (sink, 2)):
            os.dup2(source, target)
        os.closerange(3, 4096)
        os.chdir(scratch)
        os.environ.clear()
        os.environ.update(HOME=str(scratch), TMPDIR=str(scratch), LANG="C.UTF-8")
        landlock.restrict(_pythons_own(), [scratch])
        LIMITS.apply()
        seccomp.install(rules.of_program(signals=landlock.version() >= landlock.SCOPE_VERSION))
        status = _execute(code)
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _execute(code: str) -> int:
    """Runs the program. If its last line is an expression, prints its value, as the interpreter's prompt does."""
    scope: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        tree = ast.parse(code, "<program>")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<program>", "exec"), scope)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<program>", "eval"), scope)
            if value is not None:
                print(repr(value))
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException as error:
        trace = error.__traceback__.tb_next if error.__traceback__ else None  # without this function's frame
        traceback.print_exception(type(error), error, trace)
        return 1
    return 0


def _pythons_own() -> list[Path]:
    """The standard library, and the libraries that its extension modules link to."""
    named = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [
        *(Path(path) for path in (sys.base_prefix, *named, "/usr/lib", "/usr/share/zoneinfo", "/lib", "/lib64")),
        *DEVICES,
    ]
