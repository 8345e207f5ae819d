"""Process that runs tools: ``python -m tools.child SETTINGS``, started by `tools.process`.

It consists of three processes:

- The outer one leads the process group, reads what tools print, and performs restricted system calls for them.
- The middle one creates the PID namespace. It is separate because a process that has created one can't start threads.
- The inner one enters the sandbox and only then loads a project's code. It serves one call at a time, describes the
  project's tools, seeds data, or becomes the program of an MCP server.

Frames are sent over pipes that tools can't access: a tool's stdin is empty, and its stdout and stderr are logged.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Any, BinaryIO, NoReturn

from tools import frames
from tools.ending import empty, end_below
from tools.sandbox.confinement import (
    GROUPS,
    NAMESPACES,
    USER,
    Confinement,
    Entered,
    Prepared,
    SandboxError,
    adopt_orphans,
    die_with_parent,
)
from tools.sandbox.limits import join_group
from tools.sandbox.syscalls import NUMBERS

PRINTED_BYTES = 64 * 1024
"""Maximum number of bytes to log of everything that a host's tools print."""
PROGRAM_ENVIRONMENT = "TOOL_PROGRAM_ENVIRONMENT"
"""Environment variable with the environment of a program to be started in the sandbox, as JSON."""
TOO_MUCH = {"memory": 70, "scratch": 71, "processes": 72}
"""Exit codes of the outer process if the tool exceeded a limit."""
TOLD_TO_END = {signal.SIGTERM}
ENDING = Lock()
OWN_FILESYSTEM = b"\1"
"""Message sent with the listener if the scratch folder is a file system of its own."""


def main() -> NoReturn:
    settings = json.loads(sys.argv[1])
    confinement = Confinement.from_json(settings["confinement"])
    limits = confinement.limits
    grouped = confinement.uses(GROUPS) and join_group(limits.memory, limits.processes or 0)
    _end_together(settings["parent"])
    host = os.getpid()
    drain, sink = os.pipe()
    lines = _with_own_stdout() if "command" in settings else None
    outer, inner = socket.socketpair()
    if middle := os.fork():
        inner.close()
        # The worker's end of the pipes must report EOF when the inner process ends.
        for descriptor in (0, 1, sink):
            os.close(descriptor)
        Thread(target=_end_when_told, daemon=True).start()
        Thread(target=_supervise, args=(outer, settings, middle, grouped), daemon=True).start()
        if lines is not None:
            Thread(target=_pass_lines, args=lines, daemon=True).start()
        _drain(drain, middle)
    outer.close()
    os.close(drain)
    prepared = confinement.prepare(host)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD_TO_END)
    die_with_parent()
    if last := os.fork():
        for descriptor in (0, 1, sink, inner.detach()):
            os.close(descriptor)
        os._exit(_status_of(last))
    die_with_parent()
    if "command" in settings:
        os.dup2(sink, 2)
        os.close(sink)
        _become(settings["command"], confinement, prepared, inner)
    requests, responses = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (sink, 1), (sink, 2)):
        os.dup2(source, target)
    os.close(sink)
    os.close(nothing)
    with os.fdopen(requests, "rb") as reading, os.fdopen(responses, "wb") as writing:
        _work(settings, confinement, prepared, inner, reading, writing)
    os._exit(0)


def _end_together(parent: int) -> None:
    """Makes the outer process end when the worker ends, together with all processes that tools have started."""

    signal.pthread_sigmask(signal.SIG_BLOCK, TOLD_TO_END)  # `_end_when_told` waits for these signals
    adopt_orphans()
    die_with_parent(parent, signal.SIGTERM)


def _end_when_told() -> NoReturn:
    """Waits for SIGTERM in a separate thread, since a signal handler doesn't run while the main thread is blocked."""
    signal.sigwait(TOLD_TO_END)
    _end_with(1)


def _end_with(status: int) -> NoReturn:
    """Kills all descendants, then ends the outer process. The first thread that calls this sets the exit code."""
    ENDING.acquire()
    end_below(os.getpid())
    os._exit(status)


def _with_own_stdout() -> tuple[int, int]:
    """Replaces stdout with a pipe. Returns its read end, and the original stdout, which leads to the worker."""
    saying, said = os.pipe()
    heard = os.dup(1)
    os.dup2(said, 1)
    os.close(said)
    return saying, heard


def _pass_lines(saying: int, heard: int) -> None:
    """Forwards an MCP server's output to the worker, within the limits of `tools.mcp.lines`."""
    from tools.mcp.lines import Lines, TooMuch

    lines = Lines()
    try:
        while chunk := os.read(saying, 65536):
            view = memoryview(lines.push(chunk))
            while view:
                view = view[os.write(heard, view) :]
    except TooMuch as problem:
        os.write(2, f"{problem}\n".encode())
    os.close(heard)
    os.close(saying)


def _supervise(line: socket.socket, settings: Mapping[str, Any], middle: int, grouped: bool) -> None:
    """Runs in the outer process: receives the inner process's seccomp listener, then performs its restricted system
    calls."""
    told, descriptors, _, _ = socket.recv_fds(line, 1, 1)
    if not descriptors:
        return
    try:
        from tools.sandbox.metadata import Metadata
        from tools.sandbox.supervisor import GO_ON, Supervisor

        numbers = NUMBERS[os.uname().machine]
        confinement = settings["confinement"]
        own_filesystem = told == OWN_FILESYSTEM
        if not (grouped and own_filesystem):  # a process with its own file system has a PID namespace too
            Thread(target=_watch, args=(confinement, middle, grouped, own_filesystem), daemon=True).start()
        handlers = {**Metadata(confinement["scratch"], own_filesystem=own_filesystem).handlers()}
        if confinement["hosts"]:
            # Imported here, since the module needs some megabytes of memory.
            from tools.sandbox.connections import Connections, endpoints_of

            connections = Connections(endpoints_of(confinement["hosts"], settings["platform"]))
            handlers[numbers["connect"]] = connections.connect
        for call in ("clone", "fork", "vfork"):
            if call in numbers:
                handlers[numbers[call]] = lambda notice: errno.EAGAIN if ENDING.locked() else GO_ON
        Supervisor(descriptors[0], handlers).run()
    finally:
        os.close(descriptors[0])  # later notices fail


def _watch(confinement: Mapping[str, Any], middle: int, grouped: bool, own_filesystem: bool) -> None:
    from tools.sandbox.watch import Watch

    watch = Watch(
        pid=middle,
        memory_bytes=None if grouped else confinement["limits"]["memory"],
        processes=None if grouped or own_filesystem else confinement["limits"]["processes"],
        scratch=confinement["scratch"],
        scratch_bytes=None if own_filesystem else confinement["scratch_bytes"],
    )
    try:
        taken = watch.run()
    except BaseException:  # otherwise the tool would run without limits
        _end_with(1)
    if taken is not None:
        _end_with(TOO_MUCH[taken])


def _drain(source: int, middle: int) -> NoReturn:
    """Passes what tools print to the worker until all writers have ended, then exits. Drops output above the limit."""
    left = PRINTED_BYTES
    while chunk := os.read(source, 65536):
        kept = chunk[:left]
        left -= len(kept)
        if kept:
            os.write(2, kept)
    _end_with(_status_of(middle))


def _status_of(child: int) -> int:
    """Exit status of a child; waits for its end."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) % 256


def _enter(confinement: Confinement, prepared: Prepared, line: socket.socket) -> Entered:
    entered = confinement.enter(prepared)
    socket.send_fds(line, [OWN_FILESYSTEM if NAMESPACES in entered.in_force else b"\0"], [entered.listener])
    os.close(entered.listener)
    line.close()
    return entered


def _work(
    settings: Mapping[str, Any],
    confinement: Confinement,
    prepared: Prepared,
    line: socket.socket,
    reading: BinaryIO,
    writing: BinaryIO,
) -> None:
    task = settings.get("task")
    try:
        entered = _enter(confinement, prepared, line)
        if task is not None:
            _send(writing, _performed(task, settings, entered))
            return
        _send(writing, {"entered": list(entered.in_force)})  # before the project's code is loaded, which could forge it
        # Imported here, so that the outer process stays small.
        from tools.registry import Registry
        from tools.serving import Server

        # The code comes from the worker: a snapshot from the time of the request, even if files have changed since.
        registry = Registry.load(settings["sources"], (frames.read(reading) or {}).get("code"))
        for module in settings["preloaded"]:
            with suppress(ImportError):  # the tool that needs it says so
                importlib.import_module(module)
    except Exception as error:
        problem = str(error) if isinstance(error, SandboxError) else f"{type(error).__name__}: {error}"
        _send(writing, {"failed": problem[:4000]})
        return
    server = Server(registry, settings["max_result_bytes"])
    _send(writing, {"ready": True})
    scratch = Path(confinement.scratch)
    while (request := frames.read(reading)) is not None:
        answer = server.answer(request)
        if prepared.namespaces:
            _end_leftovers()
        os.chdir(scratch)
        clean = empty(scratch)
        _send(writing, answer)
        if not clean:
            return  # a fresh host replaces it


def _performed(task: str, settings: Mapping[str, Any], entered: Entered) -> dict[str, Any]:
    """Performs the only task of a process that `tools.one_shot` started, and returns its answer."""
    if task == "seed":
        from tools.project_modules import import_file

        if USER not in entered.in_force:  # files of a separate user must stay accessible to other hosts
            os.umask(0o077)
        import_file(Path(settings["sources"][0])).seed(Path(settings["data"]))
        return {"seeded": True}
    from tools.registry import Registry
    from tools.serving import spec_to_json

    return {"tools": [spec_to_json(spec) for spec in Registry.load(settings["sources"]).specs()]}


def _become(command: list[str], confinement: Confinement, prepared: Prepared, line: socket.socket) -> NoReturn:
    """Replaces this process with a program, which inherits its stdin and stdout."""
    environment = json.loads(os.environ.pop(PROGRAM_ENVIRONMENT, "{}"))
    try:
        _enter(confinement, prepared, line)
        os.execvpe(command[0], command, {**os.environ, **environment})
    except (OSError, SandboxError) as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
    os._exit(1)


def _send(writing: BinaryIO, message: dict[str, Any]) -> None:
    writing.write(frames.encode(message))
    writing.flush()


def _end_leftovers() -> None:
    """Kills what a tool left running: as the PID namespace's first process, this one can signal all others in it."""
    try:
        os.kill(-1, signal.SIGKILL)
        while os.waitpid(-1, 0)[0]:
            pass
    except (ProcessLookupError, ChildProcessError):
        pass


if __name__ == "__main__":
    main()
