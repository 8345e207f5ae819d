"""Traces: one per run, spans by the conventions, no content unless asked for."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from flightloop.runs import RunStatus
from flightloop.verdicts import Action, Stage, Verdict
from observability import semconv
from observability.config import TracingConfig
from observability.trace_id import trace_id_of
from observability.tracing import Tracing, add_evaluation, add_usage, end_run, setup, traceparent


def spans_in(directory: Path) -> list[dict]:
    lines = [line for path in sorted(directory.iterdir()) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def test_a_run_is_one_trace_over_processes_and_workers(tmp_path):
    worker, replica = (
        setup(TracingConfig("worker", directory=tmp_path)),
        setup(TracingConfig("replica", directory=tmp_path)),
    )
    tracing, served = Tracing(worker), Tracing(replica)
    with tracing.run("run_1", "support", "session_1"):
        with tracing.chat("m"):
            header = traceparent()
        with tracing.tool("refund_order", "call_1"):
            pass
    with served.chat("m", parent=header):
        pass
    with tracing.run("run_1", "support", "session_1") as span:
        end_run(span, RunStatus.SUCCEEDED, "answered")
    worker.shutdown()
    replica.shutdown()
    spans = spans_in(tmp_path)
    assert {span["context"]["trace_id"] for span in spans} == {f"0x{trace_id_of('run_1')}"}
    by_id = {span["context"]["span_id"]: span for span in spans}
    assert len(by_id) == len(spans) == 5
    paths = sorted(f"{by_id[s['parent_id']]['name'] if s['parent_id'] else ''} > {s['name']}" for s in spans)
    assert paths == [
        " > invoke_agent support",
        " > invoke_agent support",
        "chat m > chat m",
        "invoke_agent support > chat m",
        "invoke_agent support > execute_tool refund_order",
    ]
    root = next(span for span in spans if span["name"] == "invoke_agent support")
    assert root["attributes"][semconv.CONVERSATION_ID] == "session_1"
    assert root["attributes"][semconv.OPERATION] == "invoke_agent"
    assert root["resource"]["attributes"]["service.name"] == "worker"


def test_spans_that_nobody_sees_are_not_made():
    tracing = Tracing(setup(TracingConfig()))
    with tracing.run("run_1", "support", "s") as run, tracing.chat("m") as chat:
        add_usage(chat, "m", 1, 1, "stop")
        assert traceparent() is None
    assert not run.get_span_context().is_valid
    with pytest.raises(ValueError, match="passes"), tracing.tool("find", "call_1"):
        raise ValueError("it passes")


def test_other_traces_have_ids_of_their_own(tmp_path):
    tracing = Tracing(provider := setup(TracingConfig(directory=tmp_path)))
    with tracing.run("run_1", "support", "s") as first, tracing.run("run_2", "support", "s") as second:
        pass
    with tracing.chat("m") as third:
        pass
    ids = [f"{span.get_span_context().trace_id:032x}" for span in (first, second, third)]
    assert ids[:2] == [trace_id_of("run_1"), trace_id_of("run_2")]
    assert len(set(ids)) == 3
    assert traceparent() is None
    provider.shutdown()


def test_content_is_kept_only_when_captured(tmp_path):
    for capture in (False, True):
        provider = setup(TracingConfig("on" if capture else "off", directory=tmp_path / str(capture)))
        tracing = Tracing(provider, capture_content=capture)
        with tracing.tool("t", "c", **{semconv.TOOL_ARGUMENTS: "secret"}) as span:
            tracing.content(span, tool_result=lambda: "secret")
        provider.shutdown()
        text = json.dumps(spans_in(tmp_path / str(capture)))
        assert text.count("secret") == (2 if capture else 0)


def test_usage_verdicts_and_evaluations_are_on_the_span(tmp_path):
    provider = setup(TracingConfig(directory=tmp_path))
    tracing = Tracing(provider)
    verdict = Verdict(action=Action.BLOCK, rail="content", stage=Stage.FINAL, scores={"insult": 0.9})
    plain = Verdict(action=Action.ALLOW, rail="content", stage=Stage.FINAL, scores={"insult": 0.1})
    tracing.judged("final", "policy-1", time.time_ns(), [verdict])
    tracing.judged("final", "policy-1", time.time_ns(), [plain])
    with tracing.chat("m", remote=True) as span:
        add_usage(span, "m-2", 10, 3, "stop")
        add_evaluation(span, "confidence", 0.7)
    provider.shutdown()
    guard, chat = spans_in(tmp_path)
    assert [event["name"] for event in guard["events"]] == ["flightloop.guardrail", semconv.EVALUATION_EVENT]
    assert guard["events"][0]["attributes"][semconv.GUARDRAIL_VERDICT] == "block"
    assert guard["events"][1]["attributes"][semconv.EVALUATION_SCORE] == 0.9
    assert chat["kind"] == "SpanKind.CLIENT"
    assert chat["attributes"][semconv.USAGE_INPUT_TOKENS] == 10
    assert chat["attributes"][semconv.RESPONSE_FINISH_REASONS] == ["stop"]
    assert chat["events"][0]["attributes"] == {semconv.EVALUATION_NAME: "confidence", semconv.EVALUATION_SCORE: 0.7}


def test_an_exception_and_a_failed_run_mark_the_span(tmp_path):
    provider = setup(TracingConfig(directory=tmp_path))
    tracing = Tracing(provider)
    with pytest.raises(KeyError), tracing.tool("t", "c"):
        raise KeyError("gone")
    with tracing.run("run_1", "a", "s") as span:
        end_run(span, RunStatus.FAILED, "error")
    provider.shutdown()
    tool, run = spans_in(tmp_path)
    assert tool["status"]["status_code"] == run["status"]["status_code"] == "ERROR"
    assert tool["events"][0]["name"] == "exception"
    assert run["attributes"][semconv.ERROR_TYPE] == "error"


TRACEBACK = """\
  File "tools.py", line 7, in find
    raise LookupError(f"no order of {email}")
KeyError: 'bob@example.org'
which caused:
  File "tools.py", line 9, in find
    raise
LookupError: no order of bob@example.org"""


@pytest.mark.parametrize("capture", [False, True])
def test_a_failed_tool_marks_its_span_and_tells_where_it_raised(tmp_path, capture):
    tracing = Tracing(provider := setup(TracingConfig(directory=tmp_path)), capture_content=capture)
    with tracing.tool("find", "c1") as span:
        tracing.failed(span, "tool_error", TRACEBACK)
    with tracing.tool("find", "c2") as span:
        tracing.failed(span, "timeout")
    provider.shutdown()
    raised, late = spans_in(tmp_path)
    assert (raised["status"]["status_code"], late["status"]["status_code"]) == ("ERROR", "ERROR")
    assert (late["attributes"][semconv.ERROR_TYPE], late["events"]) == ("timeout", [])
    [event] = raised["events"]
    assert (event["name"], event["attributes"][semconv.EXCEPTION_TYPE]) == ("exception", "LookupError")
    told = event["attributes"][semconv.EXCEPTION_STACKTRACE]
    assert ("line 9, in find\n    raise\nLookupError" in told, "bob@" in told) == (True, capture)


def test_the_file_is_rotated_and_old_ones_go(tmp_path):
    provider = setup(TracingConfig("w", directory=tmp_path, max_bytes=2000, backups=2))
    tracing = Tracing(provider)
    for number in range(40):
        with tracing.tool(f"t{number}", "c"):
            pass
        provider.force_flush()
    provider.shutdown()
    files = sorted(tmp_path.iterdir(), key=lambda path: path.name)
    assert [path.name.partition(".")[2] for path in files] == ["jsonl", "jsonl.1", "jsonl.2"]
    assert all(path.stat().st_size <= 2000 for path in files)
    names = [json.loads(line)["name"] for path in reversed(files) for line in path.read_text().splitlines()]
    assert names == [f"execute_tool t{number}" for number in range(40 - len(names), 40)]
    assert tmp_path.stat().st_mode & 0o777 == 0o700 or not names


def test_spans_go_to_an_otlp_receiver():
    received: list[tuple[str, str | None, bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers.get("x-team"), body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}/"
        provider = setup(TracingConfig("worker", endpoint=endpoint, headers=(("x-team", "blue"),)))
        with Tracing(provider).run("run_1", "support", "s"):
            pass
        provider.shutdown()
        server.shutdown()
        thread.join()
    path, team, body = received[0]
    assert (path, team) == ("/v1/traces", "blue")
    import gzip

    request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    assert span.trace_id.hex() == trace_id_of("run_1")
    assert span.name == "invoke_agent support"


def test_trace_ids_are_fixed():
    assert trace_id_of("run_1") == trace_id_of("run_1") != trace_id_of("run_2")
    assert len(trace_id_of("")) == 32
