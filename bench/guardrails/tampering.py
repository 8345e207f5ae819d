"""Row ``tampering_missed``: edits, deletions, insertions and truncations of an audit log that nobody notices.

The log is that of a real SQLite store. ``python -m agent audit verify`` and the console, through the API, look for each
tampering alone. Control: the untouched logs, at each stage of their growth, must verify.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from agent.admin.audits import verify_journal
from agent.api import create_app
from agent.serve import factories
from agent.testing.api import KEY, OTHER_KEY, api_deps
from bench.guardrails.audited_store import AuditedStore, audited_store, fill
from bench.guardrails.tamperings import tamperings
from bench.rows import Row
from dashboards.audit_tail import AuditTail
from flightloop import Flightloop
from guardrails.checkpoints import CheckpointFile


class Bridge(httpx.BaseTransport):
    """Lets a client in a thread reach an ASGI application in an event loop."""

    def __init__(self, app: object, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run_coroutine_threadsafe(self._answer(request), self._loop).result()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        sent = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        answer = await self._transport.handle_async_request(sent)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


async def finders(store: AuditedStore) -> dict[str, bool]:
    """Whether ``audit verify`` finds something, and whether the console of one of the tenants shows something."""
    settings = store.settings
    journal = factories.open_journal(settings, check_keys=False)
    try:
        file = CheckpointFile(settings.checkpoints, settings.audit_keys())
        app = create_app(api_deps(journal=journal, keys=journal.keys, checkpoints=file.read))
        loop = asyncio.get_running_loop()

        def look() -> bool:
            return any(shows(app, loop, key) for key in (KEY, OTHER_KEY))

        by_command = not await verify_journal(journal, None, [file], lambda line: None)
        return {"command": by_command, "console": await asyncio.to_thread(look)}
    finally:
        await journal.close()


def shows(app: object, loop: asyncio.AbstractEventLoop, key: str) -> bool:
    with Flightloop("http://api", key, transport=Bridge(app, loop)) as client:
        tail = AuditTail(client)
        try:
            while not tail.refresh():
                pass
        except Exception:
            return True  # the page shows the error
        return bool(tail.problems)


async def tampering() -> list[Row]:
    missed: dict[str, list[str]] = {"command": [], "console": []}
    with audited_store() as store:
        await fill(store)
        alarms = [who for copy in store.earlier for who in await _alarms(store, copy)]
        cases = list(tamperings(store))
        for case in cases:
            with _untouched(store):
                await case.do(store)
                found = await finders(store)
            for who in ("command", "console") if case.seen_by_tenants else ("command",):
                if not found[who]:
                    missed[who].append(case.name)
        controls = 2 * len(store.earlier)
    either = sorted({name for names in missed.values() for name in names})
    note = f"not noticed: {'; '.join(either)}" if either else None
    return [
        Row("tampering_missed", len(either) / len(cases), "", higher_is_better=False, cases=len(cases), note=note),
        *(
            Row(f"tampering_missed_{who}", len(names) / len(cases), "", higher_is_better=False, cases=len(cases))
            for who, names in missed.items()
        ),
        Row("tampering_false_alarms", len(alarms) / controls, "", higher_is_better=False, cases=controls),
    ]


async def _alarms(store: AuditedStore, copy: Path) -> list[str]:
    """Who finds something in an untouched copy."""
    with _untouched(store):
        store.put(copy)
        return [who for who, found in (await finders(store)).items() if found]


@contextmanager
def _untouched(store: AuditedStore) -> Iterator[None]:
    """Restores the files at the end."""
    try:
        yield
    finally:
        store.put(store.earlier[-1])
