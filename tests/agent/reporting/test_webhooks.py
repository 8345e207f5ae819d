from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from agent.reporting.webhooks import DeliveryConfig, Endpoint, Webhook, deliver
from agent.run.journal import Journal
from agent.serve.http_server import running
from agent.store import memory_journal, sql_journal
from flightloop.content import DIGEST, ImagePart, ImageUrl, TextPart
from flightloop.errors import Conflict
from flightloop.events import ModelCall, Replied, RunCreated, RunEnded
from flightloop.runs import Budget, RunStatus, StopReason
from flightloop.webhooks import InvalidWebhook, WebhookEvent, sign, verify
from observability import catalog
from observability.metrics import Metrics
from observability.values import Values

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
NOW = 1_700_000_000.0


class Receiver:
    """A real one: verifies, and answers with ``statuses`` in order; the last one repeats."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses) or [204]
        self.ids: list[str] = []
        self.taken: list[WebhookEvent] = []
        self.changed = asyncio.Event()
        self.now: float | None = NOW

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = FastAPI(openapi_url=None)
        app.add_api_route("/hook", self._take, methods=["POST"], response_model=None)
        app.add_api_route("/elsewhere", self._take, methods=["POST"], response_model=None)
        async with running(app, grace_s=1) as url:
            yield f"{url}/hook"

    async def _take(self, request: Request) -> Response:
        event = verify(request.headers, await request.body(), SECRET, now=self.now)
        self.ids.append(request.headers["webhook-id"])
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status < 300:
            self.taken.append(event)
        self.changed.set()
        return Response(status_code=status, headers={"location": "/elsewhere"} if status < 400 else {})


class Pauses:
    """Takes no time; ``refuse_after`` stands for a process that is killed while it waits."""

    def __init__(self, refuse_after: int | None = None) -> None:
        self.seconds: list[float] = []
        self._refuse_after = refuse_after

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) == self._refuse_after:
            raise KeyboardInterrupt


@asynccontextmanager
async def webhook(
    journal: Journal,
    url: str,
    pauses: Pauses | None = None,
    tries: int = 12,
    metrics: Metrics | None = None,
    **fields: Any,
) -> AsyncIterator[Webhook]:
    endpoint = Endpoint(name="ops", url=url, secret=SECRET, **fields)
    config = DeliveryConfig(tries=tries)
    async with httpx.AsyncClient() as client:
        made = Webhook(
            journal, endpoint, client, metrics or Metrics(), config, sleep=pauses or Pauses(), clock=lambda: NOW
        )
        await made.load()
        yield made


async def finished(journal: Journal, tenant: str = "default") -> str:
    made = RunCreated(agent="a", session_id="s", tenant_id=tenant, input=[TextPart(text="x")], budget=Budget())
    await journal.create(made)
    claim = await journal.claim("w", 30)
    assert claim is not None
    ended = RunEnded(status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED, output=[TextPart(text="y")])
    await journal.append(claim.run.id, [Replied(text="y", model=ModelCall(model="m")), ended], claim.lease)
    return claim.run.id


def runs_of(events: Sequence[WebhookEvent]) -> list[str]:
    return [event.data["run_id"] for event in events]


async def test_what_happens_from_now_on_is_told_once_and_in_order() -> None:
    journal, receiver = memory_journal(), Receiver()
    await finished(journal)  # before the endpoint was there
    async with receiver.serving() as url, webhook(journal, url, events=("run.created", "run.ended")) as sender:
        first, _, second = await finished(journal), await finished(journal, "other"), await finished(journal)
        await sender.catch_up()
        await sender.catch_up()
    assert [(event.type, event.data["run_id"]) for event in receiver.taken] == [
        ("run.created", first),
        ("run.ended", first),
        ("run.created", second),
        ("run.ended", second),
    ]
    ended = receiver.taken[1]
    assert (ended.data["status"], ended.data["stop_reason"], ended.data["tenant_id"]) == (
        "succeeded",
        "answered",
        "default",
    )
    assert receiver.ids[1] == f"msg_{first}_{ended.data['seq']}"


async def test_what_is_not_taken_is_sent_again_with_the_same_id() -> None:
    journal, receiver, pauses, metrics = memory_journal(), Receiver(500, 302, 429, 204), Pauses(), Metrics()
    async with receiver.serving() as url, webhook(journal, url, pauses, metrics=metrics) as sender:
        runs = [await finished(journal), await finished(journal)]
        await sender.catch_up()
    assert runs_of(receiver.taken) == runs
    assert len(receiver.ids) == 5
    assert len(set(receiver.ids[:4])) == 1
    assert pauses.seconds == [1, 2, 4]
    told = Values(metrics.snapshot().series).by(catalog.SYSTEM_WEBHOOKS, "outcome")
    assert told == {"failed": 3, "delivered": 2, "given_up": 0}


async def test_a_receiver_that_stays_down_is_given_up_and_the_next_event_is_told() -> None:
    journal, receiver, pauses, metrics = memory_journal(), Receiver(503, 503, 503, 204), Pauses(), Metrics()
    async with receiver.serving() as url, webhook(journal, url, pauses, tries=3, metrics=metrics) as sender:
        _, second = await finished(journal), await finished(journal)
        await sender.catch_up()
    assert runs_of(receiver.taken) == [second]
    assert pauses.seconds == [1, 2]
    told = Values(metrics.snapshot().series).by(catalog.SYSTEM_WEBHOOKS, "outcome")
    assert told == {"failed": 3, "given_up": 1, "delivered": 1}


async def test_waits_are_bounded() -> None:
    journal, pauses = memory_journal(), Pauses()
    async with webhook(journal, "http://127.0.0.1:9/hook", pauses, tries=14) as sender:  # nobody listens there
        await finished(journal)
        await sender.catch_up()
    assert pauses.seconds == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


async def test_a_killed_process_goes_on_where_it_was(tmp_path: Path) -> None:
    url_of_journal = f"sqlite:///{tmp_path}/journal.db"
    journal, receiver = sql_journal(url_of_journal), Receiver(204, 500, 500, 204)
    async with receiver.serving() as url:
        async with webhook(journal, url, Pauses(refuse_after=2)) as sender:
            first, second = await finished(journal), await finished(journal)
            with pytest.raises(KeyboardInterrupt):
                await sender.catch_up()
        await journal.close()
        journal, pauses = sql_journal(url_of_journal), Pauses()
        async with webhook(journal, url, pauses) as sender:
            third = await finished(journal)
            await sender.catch_up()
        await journal.close()
    assert runs_of(receiver.taken) == [first, second, third]
    assert receiver.ids[1] == receiver.ids[2] == receiver.ids[3]  # two tries before, one after
    assert pauses.seconds == []


async def test_tries_before_a_restart_count() -> None:
    journal, receiver = memory_journal(), Receiver(500)
    async with receiver.serving() as url:
        async with webhook(journal, url, Pauses(refuse_after=2), tries=3) as sender:
            await finished(journal)
            with pytest.raises(KeyboardInterrupt):
                await sender.catch_up()
        async with webhook(journal, url, pauses := Pauses(), tries=3) as sender:
            await sender.catch_up()
    assert len(receiver.ids) == 3
    assert pauses.seconds == []


async def test_a_second_sender_yields() -> None:
    journal, receiver = memory_journal(), Receiver()
    async with receiver.serving() as url, webhook(journal, url) as one, webhook(journal, url) as other:
        await finished(journal)
        await one.catch_up()
        with pytest.raises(Conflict):
            await other.catch_up()
        await other.load()
        await other.catch_up()
    assert len(set(receiver.ids)) == 1


async def test_a_receiver_that_is_down_delays_no_other() -> None:
    journal, receiver = memory_journal(), Receiver()
    receiver.now = None
    async with receiver.serving() as url:
        down = Endpoint(name="down", url="http://127.0.0.1:9/", secret=SECRET)
        up = Endpoint(name="up", url=url, secret=SECRET)
        sending = asyncio.create_task(deliver(journal, [down, up], Metrics()))
        while None in [await journal.projection(f"webhook:{name}") for name in ("up", "down")]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        run = await finished(journal)  # and its worker did not wait either
        await receiver.changed.wait()
        sending.cancel()
        await asyncio.wait({sending})
    assert runs_of(receiver.taken) == [run]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"url": "http://example.org/"}, "https"),
        ({"url": "ftp://127.0.0.1/"}, "https"),
        ({"url": "https://user:pw@example.org/"}, "password"),
        ({"url": "https://example.org:port/"}, "not a valid URL"),
        ({"url": "https://xn--/"}, "not a valid URL"),
        ({"secret": "hunter2"}, "whsec_"),
        ({"events": ["tool.result"]}, "run.ended"),
        ({"name": "A B"}, "pattern"),
    ],
)
def test_a_bad_endpoint_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        Endpoint(**{"name": "ops", "url": "https://example.org/", "secret": SECRET, **fields})
    assert "hunter2" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_verifying() -> None:
    body = b'{"type":"run.ended","timestamp":"2026-01-01T00:00:00Z","data":{}}'
    headers = sign(SECRET, "msg_1", int(NOW), body)
    shouted = {name.upper(): value for name, value in headers.items()}
    assert verify(shouted, body, SECRET, now=NOW + 299).type == "run.ended"
    several = {**headers, "webhook-signature": f"v1a,x v1,AAAA {headers['webhook-signature']}"}
    assert verify(several, body, SECRET, now=NOW).type == "run.ended"
    # Made by openssl: printf 'msg_1.1700000000.%s' "$body" | openssl dgst -sha256 -hmac KEY -binary | base64
    assert headers["webhook-signature"] == "v1,wjmBAeEU0weH6hOwWaj6KTF1+HNGMiRF4ZbxBpB7lWE="


@pytest.mark.parametrize(
    ("changed", "body", "now", "says"),
    [
        ({"webhook-signature": None}, b"{}", NOW, "webhook-signature is missing"),
        ({"webhook-id": "msg_2"}, b"{}", NOW, "not made with this secret"),
        ({"webhook-id": "msg_\udcff"}, b"{}", NOW, "not made with this secret"),
        ({"webhook-signature": "v1,\udcff"}, b"{}", NOW, "not made with this secret"),
        ({"webhook-timestamp": "soon"}, b"{}", NOW, "not a number"),
        ({"webhook-timestamp": "9" * 400}, b"{}", NOW, "not a number"),
        ({}, b"{ }", NOW, "not made with this secret"),
        ({}, b"{}", NOW + 301, "from now"),
        ({}, b"{}", NOW, "not an event"),
    ],
)
def test_what_is_not_believed(changed: dict[str, str | None], body: bytes, now: float, says: str) -> None:
    headers = {**sign(SECRET, "msg_1", int(NOW), b"{}"), **changed}
    given = {name: value for name, value in headers.items() if value is not None}
    with pytest.raises(InvalidWebhook, match=says):
        verify(given, body, SECRET, now=now)


async def test_an_image_is_told_by_its_digest() -> None:
    journal, receiver = memory_journal(), Receiver()
    image = ImagePart(image_url=ImageUrl(url=f"data:image/png;base64,{base64.b64encode(b'pixels').decode()}"))
    async with receiver.serving() as url, webhook(journal, url, events=("run.created",)) as sender:
        await journal.create(RunCreated(agent="a", session_id="s", input=[image], budget=Budget()))
        await sender.catch_up()
    [told] = receiver.taken
    digest = hashlib.sha256(b"pixels").hexdigest()
    assert told.data["input"] == [{"type": "image_url", "image_url": {"url": f"{DIGEST}{digest}", "detail": "auto"}}]
