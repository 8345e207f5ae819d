"""Recorded answers in place of the network."""

import httpx
import pytest

from flightloop import AsyncFlightloop, Flightloop, errors
from flightloop import events as ev
from flightloop.chat import ChatChunk, ChunkChoice, Delta
from flightloop.response_events import ResponseCompleted, ResponseCreated
from flightloop.responses import ResponseCreate, ResponseObject
from flightloop.runs import Run, RunStatus, StopReason
from flightloop.testing import RecordedAnswers, Stream

RUN = Run.model_validate(
    {"id": "run_1", "agent": "support", "session_id": "s", "status": "queued", "input": "Hi", "created_at": 0}
    | {"budget": {}}
)
EVENTS = [
    ev.RunStarted(worker="w", fence=1, seq=1),
    ev.DeltaEvent(run_id="run_1", text="Où ? \u2028"),
    ev.RunEnded(status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED, seq=2),
]


def client(answers: RecordedAnswers) -> Flightloop:
    return Flightloop("http://platform.test", "key", transport=answers)


def test_a_request_gets_its_answer_and_is_kept() -> None:
    answers = RecordedAnswers({"POST /v1/runs": RUN, "GET /v1/runs": {"data": [RUN], "has_more": False}})
    with client(answers) as asking:
        assert asking.runs.create(agent="support", input="Hi", idempotency_key="k") == RUN
        assert asking.runs.list(limit=5).data == [RUN]
    created, listed = answers.requests
    assert (created.headers["idempotency-key"], created.headers["authorization"]) == ("k", "Bearer key")
    assert b'"agent":"support"' in created.content
    assert listed.url.params["limit"] == "5"


def test_answers_to_consecutive_requests_and_the_last_one_repeats() -> None:
    done = RUN.model_copy(update={"status": RunStatus.SUCCEEDED})
    answers = RecordedAnswers({"GET /v1/runs/run_1": [RUN, done]})
    with client(answers) as asking:
        assert [asking.runs.get("run_1").status for _ in range(3)] == ["queued", "succeeded", "succeeded"]


def test_the_time_to_wait_is_that_of_the_whole_wait() -> None:
    answers = RecordedAnswers({"GET /v1/runs/run_1": RUN, "GET /v1/runs/run_1/events": Stream(EVENTS)})
    with client(answers) as asking, pytest.raises(TimeoutError):  # the run is resumed whenever it ends
        asking.runs.wait("run_1", timeout_s=0.1)


def test_errors_of_the_api_and_of_the_network() -> None:
    answers = RecordedAnswers(
        {
            "GET /v1/agents": [errors.ModelUnavailable("gone", retry_after=0), httpx.ConnectError("refused")],
            "POST /v1/approvals/apr_1": errors.Conflict("it is already approved", param="id"),
        }
    )
    with Flightloop("http://platform.test", "key", retries=1, transport=answers) as asking:
        with pytest.raises(errors.ConnectionFailed, match="refused"):
            asking.agents.list()
        with pytest.raises(errors.Conflict, match="already approved") as caught:
            asking.approvals.decide("apr_1", decision="approve")
    assert (caught.value.param, len(answers.requests)) == ("id", 3)


def test_a_runs_events() -> None:
    with client(RecordedAnswers({"GET /v1/runs/run_1/events": Stream(EVENTS)})) as asking:
        assert list(asking.runs.stream("run_1")) == EVENTS


async def test_streams_of_a_model_for_asyncio() -> None:
    chunks = [
        ChatChunk(id="c", created=1, model="m", choices=[ChunkChoice(delta=Delta(content=word))]) for word in "ab"
    ]
    request = ResponseCreate.model_validate({"model": "m", "input": "Hi"})
    whole = ResponseObject.begun(request, id="r", created_at=1)
    response = [ResponseCreated(response=whole), ResponseCompleted(response=whole, sequence_number=1)]
    answers = RecordedAnswers({"POST /v1/chat/completions": Stream(chunks), "POST /v1/responses": Stream(response)})
    async with AsyncFlightloop("http://platform.test", "key", transport=answers) as asking:
        said = asking.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
        assert [chunk.choices[0].delta.content async for chunk in said] == ["a", "b"]
        told = asking.responses.create(model="m", input="Hi", stream=True)
        assert [event.type async for event in told] == ["response.created", "response.completed"]


def test_a_request_without_an_answer_is_named() -> None:
    with client(RecordedAnswers({"GET /v1/runs": {}})) as asking, pytest.raises(LookupError, match="GET /v1/tools"):
        asking.tools.list()
