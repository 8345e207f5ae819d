"""The whole platform in processes of its own, driven from outside: SDK, OpenAI's client, CLI, a browser.

The tests share one platform and run in the order of this file; the last one stops it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import jsonschema
import openai
import psutil
import pytest

from bench.coverage import without_value
from bench.platform import Platform
from bench.streams import Answer
from flightloop import Flightloop
from flightloop.acts import Act
from flightloop.content import text_of
from flightloop.errors import IdempotencyMismatch, Interrupted, NotFound
from flightloop.events import (
    ApprovalRequested,
    CallsDecided,
    ChecksPassed,
    DeltaEvent,
    Judged,
    Planned,
    Replied,
    RunEvent,
    ToolIntent,
    ToolResult,
)
from flightloop.runs import Run, RunStatus
from flightloop.verdicts import Stage
from observability.system import NvmlGpus
from tests.acceptance.receiving import Receiver
from tests.console import CHROMIUM, NO_CHROMIUM, browser, log_in, visitor
from tests.processes import family_of

pytestmark = [pytest.mark.ray, pytest.mark.slow]
Cli = Callable[..., str]

QUESTIONS = ["Where is order 10001?", "What did I order in 10003?", "Please show me order 10002."]
HANG_UP_AFTER = 5  # events, a watcher loses its connection and comes back
MOST_LATE_TOKENS = 64
"""Of 3,500: those on their way through four processes of a busy machine. ``python -m bench stopping`` measures them."""

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 40}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ANIMAL = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "legs": {"type": "integer"}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}
FORECAST: dict[str, Any] = {
    "messages": [{"role": "user", "content": "What is the weather in Paris for three days?"}],
    "tools": [
        {"type": "function", "function": {"name": "get_weather", "description": "Forecast", "parameters": WEATHER}}
    ],
    "tool_choice": "required",
    "max_tokens": 150,
    "temperature": 0,
}


@dataclass(frozen=True)
class Worked:
    """A run that called a tool, and its durable events as they came over two connections."""

    run: Run
    events: list[RunEvent]

    def of(self, *kinds: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]


@pytest.fixture(scope="module")
def worked(client: Flightloop) -> Worked:
    for question in QUESTIONS:
        run = client.runs.create(agent="support", input=question)
        events = watched(client, run.id)
        if any(isinstance(event, ToolResult) for event in events):
            return Worked(client.runs.get(run.id), events)
    pytest.fail("the model called no tool for any of the questions")


def watched(client: Flightloop, run_id: str) -> list[RunEvent]:
    """All durable events of a run, read over two connections; an operator agrees to every call."""
    events: list[RunEvent] = []
    for limit in (HANG_UP_AFTER, None):
        for event in client.runs.stream(run_id, after=events[-1].seq if events else 0):
            if isinstance(event, DeltaEvent):
                continue
            events.append(event)
            if isinstance(event, ApprovalRequested):
                client.approvals.decide(event.approval_id, decision="approve")
            if limit is not None and len(events) == limit:
                break
    return events


def eventually(found: Callable[[], object], wanted: object, timeout_s: float) -> None:
    """Looks again until it finds what is wanted; fails with what it found last."""
    end = time.monotonic() + timeout_s
    while (last := found()) != wanted and time.monotonic() < end:
        time.sleep(0.5)
    assert last == wanted


# Runs, with the SDK


def test_a_runs_events_have_no_gap_and_come_once_over_a_broken_connection(worked: Worked) -> None:
    assert [event.seq for event in worked.events] == list(range(1, len(worked.events) + 1))
    assert worked.run.status.terminal
    assert worked.run.usage.tool_calls >= 1


def test_every_stage_of_a_run_was_judged_under_its_policy(worked: Worked) -> None:
    happened = {
        Stage.INPUT: True,
        Stage.PLAN: bool(worked.of(Planned)),
        Stage.TOOL_CALL: any(event.calls for event in worked.of(CallsDecided)),
        Stage.TOOL_RESULT: bool(worked.of(ToolIntent)),
        Stage.STREAM: bool(worked.of(CallsDecided, Replied)),
        Stage.FINAL: bool(worked.of(Replied)),
    }
    verdicts = [event.verdict for event in worked.of(Judged)]
    verdicts += [verdict for event in worked.of(ChecksPassed) for verdict in event.passed.verdicts]
    assert {verdict.stage for verdict in verdicts} == {stage for stage, did in happened.items() if did}
    assert {verdict.policy_sha256 for verdict in verdicts} == {worked.run.policy_sha256}


def test_a_reader_goes_on_after_the_last_event_it_saw(platform: Platform, worked: Worked) -> None:
    seen = worked.events[-3].seq
    headers = {"authorization": f"Bearer {platform.key}", "last-event-id": str(seen)}
    with httpx.stream("GET", f"{platform.url}/v1/runs/{worked.run.id}/events", headers=headers) as response:
        ids = [int(line.removeprefix("id:")) for line in response.iter_lines() if line.startswith("id:")]
    assert ids[:2] == [seen + 1, seen + 2]


def test_a_repeated_request_starts_no_second_run(client: Flightloop) -> None:
    first = client.runs.create(agent="support", input="Where is order 10001?", idempotency_key="acceptance")
    again = client.runs.create(agent="support", input="Where is order 10001?", idempotency_key="acceptance")
    assert again.id == first.id
    with pytest.raises(IdempotencyMismatch):
        client.runs.create(agent="support", input="Something else", idempotency_key="acceptance")
    client.runs.cancel(first.id)
    assert client.runs.wait(first.id, timeout_s=60).status.terminal


def test_feedback_and_outcome_are_kept(client: Flightloop, worked: Worked) -> None:
    client.runs.outcome(worked.run.id, solved=True)
    rated = client.runs.feedback(worked.run.id, score=5, resolved=True)
    assert rated.feedback is not None
    assert rated.feedback.score == 5


def test_unknown_names_are_answered_with_the_known_ones(
    client: Flightloop, official: openai.OpenAI, model: str
) -> None:
    with pytest.raises(NotFound, match="support"):
        client.runs.create(agent="nobody", input="hello")
    with pytest.raises(openai.NotFoundError, match=model):
        official.chat.completions.create(model="nothing", messages=[{"role": "user", "content": "hello"}])


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("runs", '{"agent": "support"', "JSON"),
        ("runs", '{"agent": "support"}', "input"),
        ("runs", '{"agent": "support", "input": "  "}', "input"),
        ("runs", '{"agent": "support", "input": "hello", "budget": {"steps": "many"}}', "budget.steps"),
        ("runs", json.dumps({"agent": "support", "input": "word " * 100_000}), "input"),
        ("chat/completions", '{"model": "MODEL", "messages": []}', "messages"),
        ("chat/completions", '{"model": "MODEL", "messages": [{"role": "user", "content": 5}]}', "content"),
        (
            "chat/completions",
            json.dumps({"model": "MODEL", "messages": [{"role": "user", "content": "word " * 10_000}]}),
            "messages",
        ),
    ],
)
def test_bad_input_is_refused_by_name(platform: Platform, model: str, path: str, body: str, named: str) -> None:
    headers = {"authorization": f"Bearer {platform.key}", "content-type": "application/json"}
    answer = httpx.post(f"{platform.url}/v1/{path}", content=body.replace("MODEL", model), headers=headers, timeout=30)
    assert 400 <= answer.status_code < 500
    error = answer.json()["error"]
    assert named in f"{error['param']} {error['message']}"
    assert len(answer.headers.get_list("x-request-id")) == 1


# Completions, with OpenAI's own client


def test_a_completion_comes_whole_and_token_by_token(official: openai.OpenAI, model: str) -> None:
    assert [card.id for card in official.models.list().data] == [model]
    # Not compared with each other: what the prefix cache holds changes the order of sums, in bfloat16 even a word.
    question: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "Tell me about the sea."}],
        "max_tokens": 6,
        "temperature": 0,
    }
    whole = official.chat.completions.create(**question)
    assert whole.choices[0].message.content
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 6
    chunks = list(official.chat.completions.create(stream=True, stream_options={"include_usage": True}, **question))
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert len(pieces) > 1  # the first token leaves at once, what gathers behind it together
    assert [choice.finish_reason for choice in chunks[-2].choices] == ["length"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 6


def test_a_required_call_fits_its_schema_whole_and_streamed(official: openai.OpenAI, model: str) -> None:
    whole = official.chat.completions.create(model=model, **FORECAST).choices[0]
    assert whole.finish_reason == "tool_calls"
    [call] = whole.message.tool_calls or []
    assert call.function.name == "get_weather"
    jsonschema.validate(json.loads(call.function.arguments), WEATHER)

    arguments, finish = "", None
    for chunk in official.chat.completions.create(model=model, stream=True, **FORECAST):
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for delta in choice.delta.tool_calls or []:
                arguments += (delta.function.arguments or "") if delta.function else ""
    assert finish == "tool_calls"
    jsonschema.validate(json.loads(arguments), WEATHER)


def test_a_response_format_is_kept(official: openai.OpenAI, model: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "animal", "strict": True, "schema": ANIMAL}}
    question = {"role": "user", "content": "Describe a cat."}
    answer = official.chat.completions.create(model=model, messages=[question], response_format=form, max_tokens=60)
    jsonschema.validate(json.loads(answer.choices[0].message.content), ANIMAL)


# The operator


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_an_operator_watches_a_run_in_the_browser(
    platform: Platform, client: Flightloop, worked: Worked, console_port: int
) -> None:
    console = f"http://127.0.0.1:{console_port}"
    question = text_of(worked.run.input)
    with browser() as chromium:
        page = visitor(chromium, viewport={"width": 1400, "height": 1200})
        page.goto(str(platform.console))  # the login link
        page.get_by_text("Latest runs").first.wait_for()
        page.locator("canvas td", has_text=question).first.wait_for(state="attached")

        page.goto(f"{console}/runs?agent=support")
        log_in(page, platform.key)
        page.locator("canvas td", has_text=question).first.wait_for(state="attached")

        run = client.runs.create(agent="support", input=question)
        page.goto(f"{console}/run?id={run.id}")
        log_in(page, platform.key)
        page.get_by_text(run.id).first.wait_for()
        page.get_by_text("1 · Plan").first.wait_for()
        done = client.runs.wait(run.id, timeout_s=60)
        page.get_by_text(text_of(done.output or [])[:30]).first.wait_for()

        follow(page, "Emergency stop")
        page.get_by_text("Nothing is stopped").first.wait_for()
        interrupt = client.interrupts.create(scope="session", target=run.session_id)
        page.get_by_text(f"The session {run.session_id} is stopped").first.wait_for()
        client.interrupts.clear(interrupt.id)
        page.get_by_text("Nothing is stopped").first.wait_for()


def follow(page: Any, link: str) -> None:
    """Clicks until the page comes: Streamlit loses a click that falls together with a refresh of the page before."""
    playwright = pytest.importorskip("playwright.sync_api")
    for _ in range(5):
        page.get_by_role("link", name=link).first.click()
        try:
            return page.get_by_role("heading", name=link).first.wait_for(timeout=10_000)
        except playwright.TimeoutError:
            continue
    pytest.fail(f"the link {link} leads nowhere")


def test_the_emergency_stop_ends_an_answer_at_a_token(client: Flightloop, model: str) -> None:
    answer = Answer(client, model, max_tokens=3500)
    answer.wait_for(20, timeout_s=120)
    interrupt = client.interrupts.create(reason="acceptance")
    acknowledged = time.time()
    answer.wait(timeout_s=60)
    client.interrupts.clear(interrupt.id)
    assert answer.interrupted
    assert answer.after(acknowledged) <= MOST_LATE_TOKENS


def test_the_emergency_stop_ends_a_run_in_the_middle(client: Flightloop, model: str, cli: Cli) -> None:
    runs = [client.runs.create(agent="support", input=f"Where is order {10001 + n}?") for n in range(4)]
    # Not by a stream that is left: Ray's proxy can take seconds over a reader who goes, and the stop would wait for it.
    eventually(lambda: client.runs.get(runs[0].id).status, RunStatus.RUNNING, timeout_s=30)
    interrupt = client.interrupts.create(reason="acceptance")  # a command takes as long to start as a whole run does
    ended = [client.runs.wait(run.id, timeout_s=60) for run in runs]
    run = next(run for run in ended if run.status is RunStatus.INTERRUPTED)  # at least the one that came last

    assert interrupt.id in cli("stop")
    with pytest.raises(Interrupted):
        client.runs.create(agent="support", input="hello")
    with pytest.raises(Interrupted):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
    cli("stop", "--clear", interrupt.id)
    said = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}], max_tokens=5)
    assert said.usage.completion_tokens > 0
    client.runs.resume(run.id)
    assert client.runs.wait(run.id, timeout_s=120).status is not RunStatus.INTERRUPTED


def test_the_audit_log_is_whole(platform: Platform, client: Flightloop, worked: Worked) -> None:
    assert len(client.audit.list(run_id=worked.run.id, act=Act.VERDICT).data) == len(worked.of(Judged, ChecksPassed))
    environment = {**os.environ, "FLIGHTLOOP_HOME": str(platform.home)}
    command = [sys.executable, "-m", "agent", "audit", "verify"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the log is intact" in done.stdout


def test_a_receiver_of_webhooks_is_told_how_the_run_ended(receiver: Receiver, worked: Worked) -> None:
    eventually(lambda: receiver.ends(worked.run.id), [worked.run.status.value], timeout_s=30)


# Figures, after all of the above


def test_every_metric_of_the_catalogue_has_a_value(platform: Platform, worked: Worked) -> None:
    expected = {"flightloop_run_compactions_total"}  # nothing here is too long for the model
    expected |= {"flightloop_system_memory_unallocated_ratio"}  # torch's allocator on a GPU: the engine runs on CPUs
    if not NvmlGpus().read():
        expected |= {  # NVML finds no GPU
            "flightloop_system_gpu_utilisation_ratio",
            "flightloop_system_gpu_memory_used_bytes",
            "flightloop_system_gpu_memory_capacity_bytes",
        }
    eventually(lambda: without_value(httpx.get(f"{platform.url}/metrics").text), expected, timeout_s=30)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool (Debian: apt-get install prometheus)")
def test_promtool_accepts_the_metrics(platform: Platform) -> None:
    exposition = httpx.get(f"{platform.url}/metrics").text
    done = subprocess.run(["promtool", "check", "metrics"], input=exposition, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# The end


def test_ctrl_c_leaves_no_process_and_a_latched_stop_outlives_it(
    platform: Platform, client: Flightloop, model: str, cli: Cli
) -> None:
    assert "stopped all" in cli("stop", "--all", "--reason", "outlives a restart")
    [interrupt] = client.interrupts.list().data
    family = family_of(platform.pid)
    assert any("tools.child" in " ".join(process.cmdline()) for process in family)
    assert platform.stop() == 0, platform.tail()
    assert psutil.wait_procs(family, timeout=30)[1] == []

    with Platform(platform.home, platform.port, ("--no-console", "--no-prometheus")) as again:
        assert [item.id for item in client.interrupts.list().data] == [interrupt.id]
        with pytest.raises(Interrupted):
            client.runs.create(agent="support", input="hello")
        with pytest.raises(Interrupted):
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
        client.interrupts.clear(interrupt.id)
        said = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}], max_tokens=5)
        assert said.usage.completion_tokens > 0
        family = family_of(again.pid)
        os.killpg(again.pid, signal.SIGTERM)  # Ray's servers get it, too, and are gone first
        assert again.stop(by=signal.SIGTERM) == 0, again.tail()
        assert psutil.wait_procs(family, timeout=30)[1] == []
        assert "stopping …" in again.tail()
