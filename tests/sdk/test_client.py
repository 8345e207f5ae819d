"""Both clients against the API on a real HTTP server."""

import json

import pytest
from pydantic import ValidationError

from agent.testing.api import KEY
from agent.testing.platform import Platform
from flightloop import AsyncFlightloop, Flightloop, errors
from flightloop import events as ev
from flightloop.chat import ChatChunk, ChatCompletion
from flightloop.feeds import ResponseFeed
from flightloop.response_events import OutputTextDelta, ResponseCompleted
from flightloop.responses import ResponseCreate, ResponseObject
from flightloop.runs import Budget, Run, RunStatus, StopReason
from tests.console import free_port
from tests.faulty_proxy import Fault, FaultyProxy

INTERRUPTED = ev.RunEnded(status=RunStatus.INTERRUPTED, stop_reason=StopReason.INTERRUPT)


def test_create_stream_and_get_one_run(client: Flightloop) -> None:
    run = client.runs.create(agent="support", input="Where is my order?", metadata={"task": "1"})
    seen = list(client.runs.stream(run.id))
    durable = [event.type for event in seen if event.seq and event.type != "checks.passed"]
    assert durable == ["run.created", "run.started", "decision.plan", "decision.reply", "run.ended"]
    done = client.runs.get(run.id)
    assert [event.seq for event in seen if event.seq] == list(range(1, done.last_seq + 1))
    assert done.status is RunStatus.SUCCEEDED
    assert done.output is not None
    assert done.output[0].model_dump()["text"] == "All done."
    assert done.confidence == pytest.approx(0.6)


def test_what_is_no_request_is_told_before_it_is_sent(proxy: FaultyProxy, client: Flightloop) -> None:
    hello = [{"role": "user", "content": "Hello"}]
    wrong = {
        "budget.tokens": lambda: client.runs.create(agent="support", input="Hello", budget={"tokens": -1}),
        "budget.steps": lambda: client.runs.resume("run_1", budget={"steps": 0}),
        "budget.token": lambda: client.runs.create(agent="support", input="Hello", budget={"token": 100}),
        "session_budget.token": lambda: client.runs.resume("run_1", session_budget={"token": 100}),
        "step": lambda: client.runs.fork("run_1", step=-1),
        "score": lambda: client.runs.feedback("run_1", score=9, resolved=True),
        "decision": lambda: client.approvals.decide("apr_1", decision="maybe"),
        "scope": lambda: client.interrupts.create(scope="everything"),
        "role": lambda: client.keys.create(name="ann", role="king"),
        "temperature": lambda: client.chat.completions.create(model="m", messages=hello, temperature=-1),
    }
    for param, ask in wrong.items():
        with pytest.raises(errors.InvalidRequest, match=f"^{param}: ") as caught:
            ask()
        assert caught.value.param == param
    assert not proxy.requests


def test_answers_of_newer_servers_are_read() -> None:
    bounds = {"steps": 3, "energy": 4}
    run = Run.model_validate(
        {"id": "r", "agent": "a", "session_id": "s", "status": "queued", "input": "Hi", "created_at": 0}
        | {"budget": bounds, "session_budget": bounds, "feedback": {"score": 5, "resolved": True, "mood": "good"}}
    )
    assert run.budget == run.session_budget == Budget(steps=3)
    resumed = ev.run_event.validate_python({"type": "run.resumed", "budget": bounds})
    assert resumed.budget == Budget(steps=3)


def test_a_budget_may_be_one_that_was_answered(platform: Platform, client: Flightloop) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="Hello", budget=Budget(steps=3), session_budget={"tokens": 9})
    client.runs.interrupt(run.id)
    resumed = client.runs.resume(run.id, budget=run.budget.model_copy(update={"steps": 5}))
    assert (resumed.budget.steps, resumed.session_budget.tokens) == (5, 9)
    assert client.runs.fork(run.id, step=0, budget=resumed.budget).budget == resumed.budget


async def test_the_async_client_does_the_same(async_client: AsyncFlightloop) -> None:
    run = await async_client.runs.create(agent="support", input="Where is my order?")
    seen = [event.type async for event in async_client.runs.stream(run.id) if event.seq]
    assert seen[-1] == "run.ended"
    done = await async_client.runs.wait(run.id, timeout_s=20)
    assert done.status is RunStatus.SUCCEEDED
    assert [item.id for item in (await async_client.runs.list()).data] == [run.id]


def test_deltas_are_streamed_between_durable_events(platform: Platform, client: Flightloop) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="Hello")
    stream = client.runs.stream(run.id)
    assert next(stream).type == "run.created"
    platform.write(run.id)
    assert next(stream).type == "run.started"
    platform.say(run.id, "Good ")
    first = next(stream)
    assert isinstance(first, ev.DeltaEvent)
    assert (first.text, first.seq) == ("Good ", 0)
    platform.write(run.id, INTERRUPTED)
    assert [event.type for event in stream] == ["run.ended"]


def test_wait_gives_up_after_the_callers_time(platform: Platform, client: Flightloop) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="Hello")
    with pytest.raises(TimeoutError):
        client.runs.wait(run.id, timeout_s=0.2)


def test_a_broken_stream_goes_on_after_the_last_event(proxy: FaultyProxy, client: Flightloop) -> None:
    proxy.events_per_connection = 2
    run = client.runs.create(agent="support", input="Hello")
    seen = [event.seq for event in client.runs.stream(run.id) if event.seq]
    assert seen == list(range(1, client.runs.get(run.id).last_seq + 1))
    asked = [request.headers.get("last-event-id") for request in proxy.requests if request.path[-1] == "events"]
    assert asked[0] is None
    assert [int(seq) for seq in asked[1:] if seq] == sorted({int(seq) for seq in asked[1:] if seq})


def test_a_stream_passes_over_an_end_that_was_resumed(platform: Platform, client: Flightloop) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="Hello")
    client.runs.interrupt(run.id)
    client.runs.resume(run.id)
    client.runs.interrupt(run.id)
    kinds = [event.type for event in client.runs.stream(run.id)]
    assert kinds == ["run.created", "run.ended", "run.resumed", "run.ended"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_repeats_the_idempotency_key(proxy: FaultyProxy, client: Flightloop, status: int) -> None:
    proxy.faults.append(Fault(status, retry_after="0"))
    run = client.runs.create(agent="support", input="Hello")
    keys = [request.headers["idempotency-key"] for request in proxy.requests]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert [item.id for item in client.runs.list().data] == [run.id]


def test_a_lost_answer_starts_no_second_run(proxy: FaultyProxy, client: Flightloop) -> None:
    proxy.faults.append(Fault(None, after_handling=True))
    run = client.runs.create(agent="support", input="Hello")
    assert [item.id for item in client.runs.list().data] == [run.id]


def test_a_lost_decision_is_not_sent_twice(proxy: FaultyProxy, client: Flightloop) -> None:
    proxy.faults.append(Fault(None))
    with pytest.raises(errors.ConnectionFailed):
        client.approvals.decide("apr_1", decision="approve")
    assert len(proxy.requests) == 1


def test_no_more_retries_than_told(proxy: FaultyProxy) -> None:
    proxy.faults.extend(Fault(503, "model_unavailable", "0") for _ in range(3))
    with Flightloop(proxy.url, KEY, retries=1) as client, pytest.raises(errors.ModelUnavailable) as caught:
        client.agents.list()
    assert len(proxy.requests) == 2
    assert caught.value.request_id == "req_fault"


def test_a_wait_that_is_too_long_is_told_at_once(proxy: FaultyProxy, client: Flightloop) -> None:
    proxy.faults.append(Fault(429, retry_after="3600"))
    with pytest.raises(errors.Overloaded) as caught:
        client.agents.list()
    assert caught.value.retry_after == 3600
    assert len(proxy.requests) == 1


def test_errors_come_typed(proxy: FaultyProxy, client: Flightloop) -> None:
    with pytest.raises(errors.NotFound, match="known: support"):
        client.runs.create(agent="nobody", input="Hello")
    with pytest.raises(errors.NotFound):
        client.runs.get("run/with slash")
    with Flightloop(proxy.url, "wrong") as stranger, pytest.raises(errors.Unauthorized):
        stranger.runs.list()
    with pytest.raises(errors.NotFound):
        next(client.runs.stream("nowhere"))


def test_nobody_there_is_one_clear_error() -> None:
    with (
        Flightloop(f"http://127.0.0.1:{free_port()}", "key", retries=0) as client,
        pytest.raises(errors.ConnectionFailed, match="is the server up"),
    ):
        client.agents.list()


def test_stopping_latches_until_cleared(client: Flightloop) -> None:
    latched = client.interrupts.create(reason="drill")
    assert [item.id for item in client.interrupts.list().data] == [latched.id]
    with pytest.raises(errors.Interrupted):
        client.runs.create(agent="support", input="Hello")
    assert client.overview().interrupts[0].reason == "drill"
    assert client.interrupts.clear(latched.id).cleared_at is not None
    assert client.interrupts.list().data == []
    assert len(client.interrupts.list(active=False).data) == 1
    client.runs.create(agent="support", input="Hello")


def test_pages_follow_the_cursor(platform: Platform, client: Flightloop) -> None:
    platform.rest()
    ids = {client.runs.create(agent="support", input=str(number)).id for number in range(5)}
    seen, after = [], None
    while True:
        page = client.runs.list(limit=2, after=after, status=RunStatus.QUEUED)
        seen += [run.id for run in page.data]
        after = page.next_after
        if not page.has_more:
            break
    assert len(seen) == 5
    assert set(seen) == ids


def test_feedback_and_outcome(client: Flightloop) -> None:
    run = client.runs.create(agent="support", input="Hello")
    client.runs.wait(run.id)
    rated = client.runs.feedback(run.id, score=5, resolved=True, comment="quick")
    assert rated.feedback is not None
    assert rated.feedback.score == 5
    client.runs.outcome(run.id, solved=True)
    with pytest.raises(errors.Conflict):
        client.runs.cancel(run.id)


def test_chat_whole_and_streamed(client: Flightloop) -> None:
    messages = [{"role": "user", "content": "one two three"}]
    whole = client.chat.completions.create(model="m", messages=messages)
    assert isinstance(whole, ChatCompletion)
    assert whole.choices[0].message.content == "one two three"
    chunks = list(client.chat.completions.create(model="m", messages=messages, stream=True))
    assert all(isinstance(chunk, ChatChunk) for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_chat_for_asyncio(async_client: AsyncFlightloop) -> None:
    messages = [{"role": "user", "content": "one two"}]
    whole = await async_client.chat.completions.create(model="m", messages=messages)
    assert whole.choices[0].message.content == "one two"
    stream = async_client.chat.completions.create(model="m", messages=messages, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "one two"


def test_responses_whole_and_streamed(client: Flightloop) -> None:
    whole = client.responses.create(model="m", input="one two three", instructions="Count.", metadata={"a": "b"})
    assert isinstance(whole, ResponseObject)
    assert (whole.output_text, whole.status) == ("one two three", "completed")
    assert (whole.instructions, whole.metadata) == ("Count.", {"a": "b"})
    told = list(client.responses.create(model="m", input="one two three", stream=True))
    assert [event.sequence_number for event in told] == list(range(len(told)))
    assert "".join(event.delta for event in told if isinstance(event, OutputTextDelta)) == "one two three"
    assert isinstance(told[-1], ResponseCompleted)
    assert told[-1].response.output_text == "one two three"


async def test_responses_for_asyncio(async_client: AsyncFlightloop) -> None:
    whole = await async_client.responses.create(model="m", input="one two")
    assert whole.output_text == "one two"
    stream = async_client.responses.create(model="m", input="one two", stream=True)
    assert "".join([event.delta async for event in stream if isinstance(event, OutputTextDelta)]) == "one two"


def test_the_form_of_a_response_comes_and_goes_by_its_name(proxy: FaultyProxy, client: Flightloop) -> None:
    form = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}
    answer = client.responses.create(model="m", input="hello", text={"format": form})
    assert json.loads(proxy.requests[-1].body)["text"]["format"] == form
    assert answer.text.format.schema_ == {"type": "object"}


def test_what_responses_do_not_serve_is_told_before_it_is_sent(proxy: FaultyProxy, client: Flightloop) -> None:
    with pytest.raises(errors.InvalidRequest, match="only tools of type 'function' are supported"):
        client.responses.create(model="m", input="hello", tools=[{"type": "web_search"}])
    assert not proxy.requests


@pytest.mark.parametrize("stream", [False, True])
def test_a_lost_answer_of_the_model_is_not_asked_for_again(proxy: FaultyProxy, stream: bool) -> None:
    def ask(client: Flightloop) -> None:
        if stream:
            list(client.responses.create(model="m", input="one two", stream=True))
        else:
            client.responses.create(model="m", input="one two")

    with Flightloop(proxy.url, KEY) as client:
        proxy.faults.append(Fault(None, after_handling=True))
        with pytest.raises(errors.ConnectionFailed):
            ask(client)
        assert len(proxy.requests) == 1
        proxy.faults.append(Fault(503, "model_unavailable", retry_after="0"))
        ask(client)  # the server did nothing: sent again
        assert len(proxy.requests) == 3


def test_a_response_that_breaks_off_is_an_error(proxy: FaultyProxy, client: Flightloop) -> None:
    proxy.events_per_connection = 6
    stream = client.responses.create(model="m", input="one two three", stream=True)
    with pytest.raises(errors.ConnectionFailed):
        list(stream)
    assert len(proxy.requests) == 1


def test_an_event_of_a_response_that_this_version_does_not_know_is_passed_over() -> None:
    feed = ResponseFeed(ResponseCreate.model_validate({"model": "m", "input": "hello"}))
    place = {"item_id": "a", "output_index": 0, "content_index": 0}
    events = [{"type": "response.new.delta"}, {"type": "response.output_text.delta", "delta": "hi", **place}]
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    assert [event.type for event in feed.push(stream.encode())] == ["response.output_text.delta"]
    with pytest.raises(ValidationError, match="delta"):
        list(feed.push(b'data: {"type": "response.output_text.delta"}\n\n'))


def test_the_events_so_far_do_not_wait(platform: Platform, client: Flightloop) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="Hello")
    platform.write(run.id)
    platform.say(run.id, "not durable")
    assert [event.seq for event in client.runs.events(run.id)] == [1, 2]
    assert [event.seq for event in client.runs.events(run.id, after=1)] == [2]
    assert client.runs.events(run.id, after=2) == []
