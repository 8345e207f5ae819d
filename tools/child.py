"""The process that runs tools: ``python -m tools.child SETTINGS``, started by `tools.process`.

It is two processes: the outer one leads the process group, drains what tools print and keeps the start of it; the
inner one, first in its PID namespace where there is one, loads the tools and serves one call at a time. Frames
travel over pipes that tools have no name for: their own stdin is empty, and their stdout and stderr are the drain.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, BinaryIO, NoReturn

from tools import frames
from tools.isolation import (
    Isolation,
    IsolationError,
    Limits,
    die_with_parent,
    drop_capabilities,
    enter_namespaces,
    install_filter,
    require,
)

PRINTED_BYTES = 64 * 1024
"""What is kept of everything that a host's tools print."""


def main() -> NoReturn:
    settings = json.loads(sys.argv[1])
    isolation = Isolation(**settings["isolation"])
    namespaces = "namespaces" in settings["mechanisms"] and enter_namespaces(isolation)
    die_with_parent(settings["parent"])
    requests, responses = os.dup(0), os.dup(1)
    drain, sink = os.pipe()
    if os.fork():
        # The worker must see the line end when the inner process does.
        for descriptor in (0, 1, requests, responses, sink):
            os.close(descriptor)
        _drain(drain)
    os.close(drain)
    die_with_parent()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (sink, 1), (sink, 2)):
        os.dup2(source, target)
    os.close(sink)
    os.close(nothing)
    with os.fdopen(requests, "rb") as reading, os.fdopen(responses, "wb") as writing:
        _serve(settings, isolation, namespaces, reading, writing)
    os._exit(0)


def _drain(source: int) -> NoReturn:
    """Reads until nobody can print any more; what is over the cap is dropped."""
    left = PRINTED_BYTES
    while chunk := os.read(source, 65536):
        kept = chunk[:left]
        left -= len(kept)
        if kept:
            os.write(2, kept)
    _, status = os.waitpid(-1, 0)
    os._exit(os.waitstatus_to_exitcode(status) % 256)


def _serve(
    settings: dict[str, Any], isolation: Isolation, namespaces: bool, reading: BinaryIO, writing: BinaryIO
) -> None:
    try:
        # Loaded here and not at the top, so that the outer process stays small.
        from tools.registry import Registry
        from tools.serving import Server

        server = Server(Registry.load(settings["sources"]), settings["max_result_bytes"])
        in_force = _confine(settings, isolation, namespaces)
    except Exception as error:
        problem = str(error) if isinstance(error, IsolationError) else f"{type(error).__name__}: {error}"
        writing.write(frames.encode({"failed": problem[:4000]}))
        return
    writing.write(frames.encode({"ready": in_force}))
    writing.flush()
    while (request := frames.read(reading)) is not None:
        writing.write(frames.encode(server.answer(request)))
        writing.flush()
        if namespaces:
            _end_leftovers()


def _confine(settings: dict[str, Any], isolation: Isolation, namespaces: bool) -> list[str]:
    in_force = ["namespaces"] if namespaces else []
    limits = dict(settings["limits"])
    if namespaces:
        drop_capabilities()
    else:
        # Outside a user namespace the kernel counts all of the user's processes, not this host's.
        limits["processes"] = None
    Limits(**limits).apply()
    if "seccomp" in settings["mechanisms"] and install_filter(isolation):
        in_force.append("seccomp")
    require(isolation, in_force)
    return in_force


def _end_leftovers() -> None:
    """Ends what a tool left running: as first of the PID namespace this process reaches all others in it."""
    try:
        os.kill(-1, signal.SIGKILL)
        while os.waitpid(-1, 0)[0]:
            pass
    except (ProcessLookupError, ChildProcessError):
        pass


if __name__ == "__main__":
    main()
