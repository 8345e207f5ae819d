"""Arize Phoenix: traces of runs and completions arrive by OTLP and are shown, by its REST and GraphQL APIs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from functools import cache
from typing import Any

from bench.clients import checks as c
from bench.clients.checks import KEY, MODEL, Seen, check, run, scripted

API = os.environ.get("FLIGHTLOOP_URL", "")
PORT = os.environ.get("TRACES_PORT", "")
PHOENIX = f"http://127.0.0.1:{PORT}"
SECRET = "npm_abcdefghijklmnopqrstuvwxyzABCDEF0123"
START_S, ARRIVE_S, END_S = 180.0, 40.0, 120.0
PROJECT = """{ projects { edges { node { name traceCount recordCount tokenCountTotal
  spans(first: 1000) { edges { node { name spanKind statusCode } } } } } } }"""


def asked(url: str, body: Any = None, key: str = "") -> Any:
    """JSON of a GET, or of a POST if there is a body."""
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return json.load(answer)


@cache
def finished_run(question: str = c.ADD) -> Any:
    """A run that has ended."""
    found = asked(f"{API}/v1/runs", {"agent": "calculator", "input": question}, KEY)
    until = time.monotonic() + END_S
    while found["status"] in ("queued", "running") and time.monotonic() < until:
        time.sleep(0.2)
        found = asked(f"{API}/v1/runs/{found['id']}", key=KEY)
    return found


@cache
def spans_of(run_id: str) -> list[Any]:
    """Spans of a run's trace, once its first span is there, which ends last."""
    until = time.monotonic() + ARRIVE_S
    while True:
        all_spans = asked(f"{PHOENIX}/v1/projects/default/spans?limit=1000")["data"]
        traces = {
            span["context"]["trace_id"] for span in all_spans if span["attributes"].get("flightloop.run.id") == run_id
        }
        found = [span for span in all_spans if span["context"]["trace_id"] in traces]
        if any(span["name"].startswith("invoke_agent") for span in found) or time.monotonic() > until:
            return found
        time.sleep(0.5)


def of_run(beginning: str) -> list[Any]:
    return [span for span in spans_of(finished_run()["id"]) if span["name"].startswith(beginning)]


@cache
def project() -> Any:
    spans_of(finished_run()["id"])
    edges = asked(f"{PHOENIX}/graphql", {"query": PROJECT})["data"]["projects"]["edges"]
    return next(edge["node"] for edge in edges if edge["node"]["name"] == "default")


@check
def trace_of_a_run() -> Seen:
    names = [span["name"] for span in spans_of(finished_run()["id"])]
    return names, any(name.startswith("invoke_agent") for name in names)


@check
def agent_span() -> Seen:
    found = of_run("invoke_agent")
    return found, found[0]["parent_id"] is None and found[0]["attributes"]["gen_ai.agent.name"] == "calculator"


@check
def model_spans() -> Seen:
    found = of_run("chat")
    return found, bool(found) and all(span["attributes"]["gen_ai.request.model"] == MODEL for span in found)


@check
def tool_span() -> Seen:
    found = of_run("execute_tool")
    return found, bool(found) and found[0]["name"] == "execute_tool add"


@check
def guard_span() -> Seen:
    """A check of the guard has a span if a rail did more than allow: here one that removes a secret."""
    run_id = finished_run(f"{c.ADD} My token is {SECRET}.")["id"]
    found = [span for span in spans_of(run_id) if span["name"].startswith("guard")]
    return found, bool(found) and SECRET not in str(spans_of(run_id))


@check
def tree() -> Seen:
    found = spans_of(finished_run()["id"])
    ids = {span["context"]["span_id"] for span in found}
    return len(found), sum(span["parent_id"] is None for span in found) == 1 and all(
        span["parent_id"] in ids for span in found if span["parent_id"]
    )


@check
def kind_of_agents() -> Seen:
    found = {span["span_kind"] for span in of_run("invoke_agent")}
    return found, found == {"AGENT"}


@check
def kind_of_models() -> Seen:
    found = {span["span_kind"] for span in of_run("chat")}
    return found, found == {"LLM"}


@check
def kind_of_tools() -> Seen:
    found = {span["span_kind"] for span in of_run("execute_tool")}
    return found, found == {"TOOL"}


@check
def messages() -> Seen:
    texts = str([span["attributes"] for span in of_run("chat")])
    return texts, c.ADD in texts


@check
def tokens() -> Seen:
    return project()["tokenCountTotal"], project()["tokenCountTotal"] > 0


@check
def graphql_shows_the_trace() -> Seen:
    names = {edge["node"]["name"] for edge in project()["spans"]["edges"]}
    return names, project()["traceCount"] > 0 and {"invoke_agent calculator", "execute_tool add"} <= names


@check
def statuses() -> Seen:
    found = {span["status_code"] for span in spans_of(finished_run()["id"])}
    return found, "ERROR" not in found


@scripted
def failed_run() -> Seen:
    failed = finished_run(c.BROKEN)
    found = [span["status_code"] for span in spans_of(failed["id"]) if span["name"].startswith("invoke_agent")]
    return (failed["status"], found), failed["status"] == "failed" and found == ["ERROR"]


@check
def trace_of_a_completion() -> Seen:
    body = {"model": MODEL, "messages": [{"role": "user", "content": c.HELLO}]}
    asked(f"{API}/v1/chat/completions", body, KEY)
    until = time.monotonic() + ARRIVE_S
    while time.monotonic() < until:
        found = asked(f"{PHOENIX}/v1/projects/default/spans?limit=1000")["data"]
        mine = [
            span["name"] for span in found if span["name"].startswith("chat") and c.HELLO in str(span["attributes"])
        ]
        if mine:
            return mine, True
        time.sleep(0.5)
    return [span["name"] for span in found], False


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "PHOENIX_PORT": PORT,
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_GRPC_PORT": str(int(PORT) + 1),
            "PHOENIX_WORKING_DIR": folder,
            "PHOENIX_TELEMETRY_ENABLED": "false",
        }
        server = subprocess.Popen(
            [sys.executable, "-m", "phoenix.server.main", "serve"], env={**os.environ, **settings}, stdout=sys.stderr
        )
        try:
            _wait_until_ready()
            run()
        finally:
            server.terminate()
            server.wait(20)


def _wait_until_ready() -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            asked(f"{PHOENIX}/v1/projects")
            return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


if __name__ == "__main__":
    main()
