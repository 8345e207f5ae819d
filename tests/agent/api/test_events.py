from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from agent.api import ApiDeps, create_app
from agent.run.deltas import LocalDeltas
from agent.run.journal import Claim
from agent.serve.http_server import running
from agent.testing.api import KEY, api_deps
from flightloop.content import TextPart
from flightloop.events import (
    ApprovalRequested,
    CallsDecided,
    DeltaEvent,
    FeedbackGiven,
    ModelCall,
    Replied,
    RunCreated,
    RunEnded,
    RunResumed,
)
from flightloop.runs import Budget, Feedback, RunStatus, StopReason


@dataclass(frozen=True)
class Sent:
    kind: str
    id: str | None
    data: dict[str, object]


class Reader:
    """The events of an open stream, one after the other."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.heartbeats = asyncio.Semaphore(0)

    async def next(self) -> Sent | None:
        fields: dict[str, str] = {}
        async for line in self._lines:
            if not line and fields:
                return Sent(fields["event"], fields.get("id"), json.loads(fields["data"]))
            if line.startswith(":"):
                self.heartbeats.release()
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
        return None

    async def rest(self) -> list[Sent]:
        found = []
        while (sent := await self.next()) is not None:
            found.append(sent)
        return found


@asynccontextmanager
async def serving(deps: ApiDeps) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {KEY}"}
    async with running(create_app(deps), grace_s=1) as url, httpx.AsyncClient(base_url=url, headers=headers) as client:
        yield client


@asynccontextmanager
async def following(client: httpx.AsyncClient, run_id: str, **headers: str) -> AsyncIterator[Reader]:
    async with client.stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Reader(response.aiter_lines())


async def begun(deps: ApiDeps) -> Claim:
    made = RunCreated(agent="support", session_id="s", input=[TextPart(text="hi")], budget=Budget())
    await deps.journal.create(made)
    claim = await deps.journal.claim("w", 30)
    assert claim is not None
    return claim


async def finish(deps: ApiDeps, claim: Claim) -> None:
    ended = RunEnded(status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED)
    reply = Replied(text="done", model=ModelCall(model="m"))
    await deps.journal.append(claim.run.id, [reply, ended], claim.lease)


async def test_follows_a_run_to_its_end() -> None:
    deps = api_deps()
    claim = await begun(deps)
    async with serving(deps) as client, following(client, claim.run.id) as reader:
        first = [await reader.next(), await reader.next()]
        deps.deltas.publish(DeltaEvent(run_id=claim.run.id, text="do"))  # type: ignore[attr-defined]
        delta = await reader.next()
        await finish(deps, claim)
        rest = await reader.rest()
    assert [(sent.kind, sent.id) for sent in first if sent] == [("run.created", "1"), ("run.started", "2")]
    assert delta is not None
    assert (delta.kind, delta.id, delta.data["text"]) == ("delta", None, "do")
    assert [(sent.kind, sent.id) for sent in rest] == [("decision.reply", "3"), ("run.ended", "4")]
    assert rest[-1].data["seq"] == 4


async def test_only_those_who_decide_see_what_is_used_of_limits() -> None:
    deps = api_deps()
    claim = await begun(deps)
    asked = ApprovalRequested(
        approval_id="apr_1",
        call_id="c",
        tool="pay",
        arguments={},
        reason="too little is left",
        figures=["limit 0: 5000 used of 6000"],
        args_sha256="a",
        policy_sha256="p",
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    await deps.journal.append(claim.run.id, [CallsDecided(calls=[], model=ModelCall(model="m")), asked], claim.lease)
    async with serving(deps) as client:
        (approval,) = (await client.get("/v1/approvals")).json()["data"]
        async with following(client, claim.run.id) as reader:
            sent = [await reader.next() for _ in range(4)]
    assert approval["figures"] == asked.figures
    assert sent[-1] is not None
    assert (sent[-1].kind, sent[-1].data["reason"]) == ("approval.requested", "too little is left")
    assert not [one for one in sent if one is not None and "5000" in json.dumps(one.data)]


async def test_text_comes_behind_what_it_followed() -> None:
    deps = api_deps()
    claim = await begun(deps)
    async with serving(deps) as client, following(client, claim.run.id) as reader:
        await reader.next()
        await reader.next()
        # The text gets there sooner than the event before it, which another process wrote.
        deps.deltas.publish(DeltaEvent(run_id=claim.run.id, text="do", after=3))  # type: ignore[attr-defined]
        await deps.journal.append(claim.run.id, [CallsDecided(calls=[], model=ModelCall(model="m"))], claim.lease)
        await finish(deps, claim)
        rest = await reader.rest()
    assert [sent.kind for sent in rest] == ["decision.calls", "delta", "decision.reply", "run.ended"]


async def test_resumes_without_a_gap() -> None:
    deps = api_deps()
    claim = await begun(deps)
    await finish(deps, claim)
    url = f"/v1/runs/{claim.run.id}/events"
    async with serving(deps) as client:
        async with following(client, claim.run.id, **{"last-event-id": "2"}) as reader:
            assert [sent.id for sent in await reader.rest()] == ["3", "4"]
        async with client.stream("GET", url, params={"after": 3}) as response:
            assert [sent.id for sent in await Reader(response.aiter_lines()).rest()] == ["4"]
        async with following(client, claim.run.id, **{"last-event-id": "4"}) as reader:
            assert await reader.rest() == []
        for sent in ("soon", str(2**31), "9" * 30):
            bad = await client.get(url, headers={"last-event-id": sent})
            assert (bad.status_code, bad.json()["error"]["param"]) == (400, "Last-Event-ID")
        assert (await client.get("/v1/runs/run_0/events")).status_code == 404


async def test_what_follows_the_end_is_part_of_the_history() -> None:
    deps = api_deps()
    claim = await begun(deps)
    ended = RunEnded(status=RunStatus.FAILED, stop_reason=StopReason.ERROR)
    await deps.journal.append(claim.run.id, [ended], claim.lease)
    await deps.journal.append(claim.run.id, [FeedbackGiven(feedback=Feedback(score=1, resolved=False))])
    await deps.journal.append(claim.run.id, [RunResumed()])
    again = await deps.journal.claim("w2", 30)
    assert again is not None
    await finish(deps, again)
    async with serving(deps) as client, following(client, claim.run.id) as reader:
        kinds = [sent.kind for sent in await reader.rest()]
    assert kinds[2:5] == ["run.ended", "feedback", "run.resumed"]
    assert kinds[-1] == "run.ended"


async def test_a_long_history_comes_whole() -> None:
    deps = api_deps()
    claim = await begun(deps)
    replies = [Replied(text=str(n), model=ModelCall(model="m")) for n in range(1200)]
    await deps.journal.append(claim.run.id, replies, claim.lease)
    await finish(deps, claim)
    async with serving(deps) as client, following(client, claim.run.id) as reader:
        assert [sent.id for sent in await reader.rest()] == [str(n) for n in range(1, 1205)]


async def test_heartbeats_while_nothing_happens() -> None:
    deps = api_deps(heartbeat_s=0.01)
    claim = await begun(deps)
    async with serving(deps) as client, following(client, claim.run.id) as reader:
        await reader.next()
        await reader.next()

        async def end_after_heartbeats() -> None:
            for _ in range(3):  # they arrive while the reader below waits
                await reader.heartbeats.acquire()
            await finish(deps, claim)

        _, rest = await asyncio.gather(end_after_heartbeats(), reader.rest())
    assert [sent.kind for sent in rest] == ["decision.reply", "run.ended"]


async def test_a_client_that_goes_away_is_forgotten() -> None:
    class Watched(LocalDeltas):
        def __init__(self) -> None:
            super().__init__()
            self.left = asyncio.Event()

        @contextmanager
        def listen(self, run_id: str) -> Iterator[asyncio.Queue[DeltaEvent]]:
            try:
                with super().listen(run_id) as queue:
                    yield queue
            finally:
                self.left.set()

    deltas = Watched()
    deps = api_deps(deltas=deltas)
    claim = await begun(deps)
    async with serving(deps) as client:
        async with following(client, claim.run.id) as reader:
            await reader.next()
            assert not deltas.left.is_set()
        async with asyncio.timeout(10):
            await deltas.left.wait()


async def test_a_reader_that_does_not_read_costs_nobody_anything() -> None:
    """Its socket is full: nothing more is read from the journal for it, and of deltas the latest are kept."""
    deltas = LocalDeltas(backlog=10)
    deps = api_deps(deltas=deltas)
    claim = await begun(deps)
    stuck, never = asyncio.Event(), asyncio.Event()
    sent = 0

    async def send(message: dict[str, object]) -> None:
        nonlocal sent
        sent += 1
        if sent == 2:  # the first event behind the headers
            stuck.set()
        if sent >= 2:
            await never.wait()

    async def receive() -> dict[str, object]:
        await never.wait()
        return {"type": "http.disconnect"}

    path = f"/v1/runs/{claim.run.id}/events"
    headers = [(b"authorization", f"Bearer {KEY}".encode())]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
    slow = asyncio.create_task(create_app(deps)(scope, receive, send))
    await stuck.wait()
    (waiting,) = deltas._listeners[claim.run.id]
    for number in range(1000):
        deltas.publish(DeltaEvent(run_id=claim.run.id, text=str(number)))
        await deps.journal.append(claim.run.id, [Replied(text=str(number), model=ModelCall(model="m"))], claim.lease)
    await finish(deps, claim)
    async with serving(deps) as client, following(client, claim.run.id) as reader:
        assert [sent.id for sent in await reader.rest()] == [str(n) for n in range(1, 1005)]
    assert (sent, waiting.qsize(), slow.done()) == (2, 10, False)
    slow.cancel()
    await asyncio.wait({slow})


async def test_closing_ends_open_streams() -> None:
    deps = api_deps()
    claim = await begun(deps)
    async with serving(deps) as client, following(client, claim.run.id) as reader:
        await reader.next()
        deps.closing.set()
        assert [sent.kind for sent in await reader.rest()] in ([], ["run.started"])
