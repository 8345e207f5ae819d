"""Tools that behave badly, each in one way."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

from tenacity import retry, stop_after_attempt

from flightloop.tool import ToolContext, ToolRefused, tool


@tool(effect="pure")
def add(a: int, b: int = 1) -> int:
    """Adds two numbers."""
    return a + b


@tool(effect="pure")
async def add_later(a: int, b: int) -> int:
    """Adds two numbers, asynchronously."""
    await asyncio.sleep(0)
    return a + b


@tool(effect="pure")
def weekday(day: date) -> str:
    """The weekday of a date."""
    return day.strftime("%A")


@tool(effect="pure")
def who(context: ToolContext) -> dict[str, Any]:
    """What the tool is told."""
    return {"key": context.key, "run": context.run_id, "data": str(context.data), "egress": context.egress}


@tool(effect="pure")
def environment() -> dict[str, str]:
    """The process's environment."""
    return dict(os.environ)


@tool(effect="pure")
def refuse() -> None:
    """Refuses."""
    raise ToolRefused("Order 7 was shipped already.")


@tool(effect="pure")
def fail() -> None:
    """Raises."""
    raise RuntimeError("the disk is on fire")


@tool(effect="pure")
def leave() -> None:
    """Exits."""
    sys.exit(3)


@tool(effect="pure")
def die() -> None:
    """Is killed in the middle of a call."""
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(9)  # first of a PID namespace: its own signals don't reach it


@tool(effect="pure")
def hang(context: ToolContext) -> None:
    """Waits for ever, once it has said that it began."""
    (context.data / f"{context.run_id}.began").touch()
    threading.Event().wait()


@tool(effect="pure", timeout_s=0.5)
def hang_briefly() -> None:
    """Waits for ever, with a short timeout."""
    threading.Event().wait()


@tool(effect="pure")
def shout(megabytes: int) -> str:
    """Prints a lot, on both streams."""
    for _ in range(megabytes):
        sys.stdout.write("x" * 1024 * 1024)
        os.write(2, b"y" * 1024)
    sys.stdout.flush()
    return "done"


@tool(effect="pure")
def repeat(text: str, times: int) -> str:
    """A long text."""
    return text * times


@tool(effect="pure")
def numbers(count: int) -> list[int]:
    """A long list."""
    return list(range(count))


@tool(effect="pure")
def not_json() -> Any:
    """Something that JSON has no form for."""
    return {1, 2}


@tool(effect="pure")
def not_a_number() -> float:
    """A float that JSON has no form for."""
    return float("nan")


@tool(effect="pure")
def gobble() -> int:
    """Takes all the memory there is."""
    return len(bytearray(64 * 1024**3))


@tool(effect="pure")
def connect(port: int, family: str = "inet") -> str:
    """Connects to a local port."""
    with socket.socket(socket.AF_INET if family == "inet" else socket.AF_INET6, socket.SOCK_STREAM) as made:
        made.settimeout(2)
        made.connect(("127.0.0.1" if family == "inet" else "::1", port))
    return "connected"


@tool(effect="pure", permissions=("network",), hosts=("@egress",))
def connect_allowed(port: int) -> str:
    """Connects to a local port, with the permission."""
    with socket.create_connection(("127.0.0.1", port), 2):
        return "connected"


@tool(effect="pure")
def start_program() -> str:
    """Starts a program without the permission."""
    return subprocess.run(["true"], check=True).args[0]


@tool(effect="pure")
def fork_bomb() -> int:
    """Forks for ever."""
    started = 0
    while True:
        if os.fork():
            started += 1


@tool(effect="pure", permissions=("subprocess",), timeout_s=4)
def leave_children(context: ToolContext, count: int, sessions: bool, wait: bool) -> int:
    """Starts programs that outlive the call, each with its argument as a mark, in sessions of their own or not."""
    for _ in range(count):
        subprocess.Popen(
            [sys.executable, "-S", "-c", "import time\nwhile True: time.sleep(9)", context.run_id],
            start_new_session=sessions,
        )
    while wait:
        time.sleep(1)
    return count


@tool(effect="pure")
def forge(context: ToolContext) -> str:
    """Writes into every pipe it finds."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\xff" * 64)
        except OSError:
            continue
    return "done"


@tool(effect="pure")
def threads() -> int:
    """Starts threads."""
    started = [threading.Thread(target=time.sleep, args=(0,)) for _ in range(4)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return len(started)


@tool(effect="transactional")
def write_file(context: ToolContext, name: str) -> str:
    """Writes a file."""
    Path(context.data / name).write_text("x")
    return name


@tool(effect="pure")
async def fail_below(depth: int) -> int:
    """Raises because of something else, some calls down."""
    await asyncio.sleep(0)
    try:
        return _fall(depth)
    except RecursionError:
        raise
    except Exception as error:
        raise LookupError("no \x1b[31mluck\n  today") from error


def _fall(depth: int) -> int:
    return int("seven") if depth == 0 else _fall(depth - 1) + 1


@tool(effect="pure")
def fail_at_length() -> None:
    """Raises what has a lot to say, again and again."""
    raise _chain(30)


def _chain(links: int) -> Exception:
    error = ValueError("long " * 10_000)
    for _ in range(links):
        try:
            raise ValueError("long " * 10_000) from error
        except ValueError as next_one:
            error = next_one
    return error


@tool(effect="pure")
def fail_together() -> None:
    """Raises several at once."""
    raise ExceptionGroup("both", [ValueError("left"), KeyError("right")])


@tool(effect="pure")
def fail_without_words() -> None:
    """Raises what has no text, and is its own cause."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    error = Mute()
    error.__context__ = error
    raise error


@tool(effect="keyed", retries=3, timeout_s=20)
def flaky(context: ToolContext, failures: int, by: str = "raise") -> int:
    """Fails so often, then says how often it was called with this key."""
    calls = context.data / f"{context.key}.calls"
    with calls.open("a") as file:
        file.write("x")
    times = len(calls.read_text())
    if times > failures:
        return times
    if by == "refuse":
        raise ToolRefused("not now")
    if by == "die":
        die()
    if by == "hang":
        threading.Event().wait()
    raise ConnectionError(f"failure {times}")


@tool(effect="keyed", retries=10, timeout_s=1)
def flaky_briefly(context: ToolContext) -> int:
    """Always fails, with little time."""
    return flaky(context, 99)


@tool(effect="keyed", retries=3, timeout_s=1)
def hang_with_retries(context: ToolContext) -> int:
    """Waits for ever, though it may be tried again."""
    return flaky(context, 99, "hang")


@tool(effect="keyed")
def wait_elsewhere() -> Any:
    """Fails in a library, with no frame of its own left."""
    return asyncio.wait_for(asyncio.Event().wait(), 0.01)


@tool(effect="keyed")
@retry(stop=stop_after_attempt(1))
def try_once() -> None:
    """Fails in a library, which keeps its own failure as the cause."""
    raise OSError("the line is dead")
