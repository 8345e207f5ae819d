"""Stops of everything that are raised on the machine, without the API: a signal, and a file in the home.

They hold for all tenants and stay latched in the journal like any other stop until the deployment's own key clears
them. Removing the file lifts nothing: somebody with a name has to. While the file exists, a cleared stop is raised
again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import structlog

from agent.run.journal import Idempotency, Journal
from flightloop.runs import REASON_CHARS, Interrupt
from flightloop.shown import shown
from guardrails.interrupt import ANY_TENANT

FILE = "STOP"
"""Name of the file in the home."""
POLL_S = 0.25
"""Seconds between two looks for the file."""
RETRY_S = 0.5
"""Seconds before a stop is tried again that the journal did not take."""

log = structlog.get_logger(__name__)


def stop_requests() -> asyncio.Event:
    """An event that SIGUSR1 sets, and that its reader clears."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)
    return asked


async def stop_everything(journal: Journal, origin: str, reason: str) -> Interrupt:
    """Latches a stop of all tenants; returns the one that the same origin has latched already, if any.

    Args:
        origin: recorded as the actor, such as ``SIGUSR1``.
    """
    by = f"{origin} on {socket.gethostname()}"
    standing = [one for one in await journal.interrupts(ANY_TENANT) if one.created_by == by and one.scope == "all"]
    if standing:
        return standing[0]
    raised = await journal.raise_interrupt(
        ANY_TENANT, "all", None, reason, by, idempotency=Idempotency(f"local stop: {by}"[:255], "")
    )
    log.critical("everything is stopped", origin=by, reason=reason, interrupt=raised.id)
    return raised


@asynccontextmanager
async def local_stops(
    journal: Journal,
    home: Path | None = None,
    asked: asyncio.Event | None = None,
    urgent: Callable[[], Journal] | None = None,
) -> AsyncIterator[None]:
    """Stops everything on SIGUSR1, and with ``home`` while the file exists, as long as the context is open.

    Args:
        asked: the event that ``stop_requests`` has returned earlier.
        urgent: see ``stop_when_signalled``.
    """
    work = [stop_when_signalled(journal, asked or stop_requests(), urgent)]
    work += [stop_while_file_exists(journal, home)] if home is not None else []
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def stop_when_signalled(
    journal: Journal, asked: asyncio.Event, urgent: Callable[[], Journal] | None = None
) -> NoReturn:
    """Stops everything whenever the event is set, and clears it. Tries until a journal takes the stop.

    Args:
        urgent: opens a journal for stops, which is used when ``journal`` fails: on a full disk, for example.
    """
    while True:
        await asked.wait()
        asked.clear()
        while True:
            if await _stored(journal):
                break
            if urgent is not None and await asyncio.to_thread(asyncio.run, _stored_by(urgent)):  # opening may block
                break
            await asyncio.sleep(RETRY_S)


async def stop_once(urgent: Callable[[], Journal]) -> None:
    """Stops everything for a signal, in a process that has no journal of its own. Tries until a journal can be opened
    and takes the stop."""
    while True:
        if await _stored_by(urgent):
            return
        await asyncio.sleep(RETRY_S)


async def _stored_by(urgent: Callable[[], Journal]) -> bool:
    """Opens a journal and stores the stop. Returns whether it was stored."""
    try:
        journal = urgent()
        try:
            return await _stored(journal)
        finally:
            await journal.close()
    except Exception:
        log.exception("no journal could be opened for the signal's stop, trying again")
        return False


async def _stored(journal: Journal) -> bool:
    """Stores the stop. Returns whether it was stored."""
    try:
        await stop_everything(journal, "SIGUSR1", f"signal to process {os.getpid()}")
    except Exception:
        log.exception("the signal's stop could not be stored, trying again")
        return False
    return True


async def stop_while_file_exists(journal: Journal, home: Path, poll_s: float = POLL_S) -> NoReturn:
    """Stops everything while the file exists; its text is the reason."""
    path = home / FILE
    while True:
        try:
            if (reason := await asyncio.to_thread(_reason, path)) is not None:
                await stop_everything(journal, f"file {FILE}", reason)
        except Exception:
            log.exception("the file's stop could not be stored, trying again", file=str(path))
        await asyncio.sleep(poll_s)


def _reason(path: Path) -> str | None:
    """The text of the file; None if there is no such file. A file that can't be read stops as well."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"the file can't be read ({error.strerror})"
    try:
        # A pipe must not block, nor a link lead elsewhere.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOFOLLOW)) as file:
            text = (file.read(4 * REASON_CHARS) or b"").decode("utf-8", "replace")  # None: a pipe that has a writer
        return shown(" ".join(text.split()))[:REASON_CHARS]
    except Exception:  # whatever it is, it stops
        return ""
