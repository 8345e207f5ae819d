"""The platform in a process of its own, driven from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop.cli.project import write_project

ROOT = Path(__file__).parents[3]
PLAN = ScriptedAnswer(text=json.dumps({"goal": "answer", "tools": []}))


@dataclass
class Started:
    process: asyncio.subprocess.Process
    client: httpx.AsyncClient


def environment(home: Path, url: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLIGHTLOOP_")}
    return {**kept, "PYTHONPATH": str(ROOT), "FLIGHTLOOP_HOME": str(home), "FLIGHTLOOP_MODEL_URL": url, **more}


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


async def command(*arguments: str, env: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent",
        *arguments,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def told(*arguments: str, env: dict[str, str]) -> tuple[int, str, str]:
    process = await command(*arguments, env=env)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def platform(home: Path, url: str) -> AsyncIterator[Started]:
    process = await command("serve", "--port", "0", env=environment(home, url))
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("flightloop answers at "), (await process.communicate())[1].decode()
        headers = {"authorization": f"Bearer {(home / 'key').read_text().strip()}"}
        base = line.split()[3].rstrip(";")
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60) as client:
            yield Started(process, client)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
async def test_a_run_from_outside_and_a_clean_end(tmp_path: Path) -> None:
    home = tmp_path / "home"
    scripted = ScriptedServer(PLAN, ScriptedAnswer(text="It is on its way."))
    async with scripted.serving() as url, platform(home, url) as started:
        client = started.client
        assert (await client.get("/readyz")).status_code == 200
        run = (await client.post("/v1/runs", json={"agent": "support", "input": "Where is it?"})).json()
        events = (await client.get(f"/v1/runs/{run['id']}/events")).text
        assert events.rstrip().splitlines()[-2] == "event: run.ended"
        done = (await client.get(f"/v1/runs/{run['id']}")).json()
        assert (done["status"], done["output"][0]["text"]) == ("succeeded", "It is on its way.")
        overview = (await client.get("/v1/overview")).json()
        assert overview["runs"]["succeeded"] == 1
        names = {figure["name"] for tier in ("system", "model", "business", "guardrail") for figure in overview[tier]}
        assert {"flightloop_model_ttft_seconds", "flightloop_run_ended_total"} <= names
        assert (
            'flightloop_model_requests_total{model="scripted",outcome="stop"} 2.0'
            in (await client.get("/metrics")).text
        )
        children = psutil.Process(started.process.pid).children(recursive=True)
        assert children  # the tools' hosts
        async with client.stream("GET", "/v1/runs", params={"limit": 1}):
            started.process.send_signal(signal.SIGINT)
        assert await started.process.wait() == 0
        assert alive(children) == []
    code, out, _ = await told("audit", "verify", env=environment(home, "http://127.0.0.1:1"))
    assert (code, "the log is intact" in out) == (0, True)


@pytest.mark.slow
async def test_an_interrupt_reaches_a_waiting_run_and_outlives_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    never = asyncio.Event()
    silent = ScriptedServer(ScriptedAnswer(gate=never))
    async with silent.serving() as url:
        async with platform(home, url) as started:
            run = (await started.client.post("/v1/runs", json={"agent": "support", "input": "Hello?"})).json()
            await silent.asked.wait()
            stop = await started.client.post("/v1/interrupts", json={"reason": "drill"})
            assert stop.status_code == 201
            ended = (await started.client.get(f"/v1/runs/{run['id']}/events")).text
            assert '"status":"interrupted"' in ended
            started.process.send_signal(signal.SIGTERM)
            assert await started.process.wait() == 0
        # The interrupt is latched: it stands after a restart.
        async with platform(home, url) as started:
            answer = await started.client.post("/v1/runs", json={"agent": "support", "input": "Hello?"})
            assert answer.json()["error"]["code"] == "interrupted"
        never.set()


@pytest.mark.slow
async def test_a_signal_and_a_file_stop_the_platform(tmp_path: Path) -> None:
    home, run = tmp_path / "home", {"agent": "support", "input": "hi"}
    async with ScriptedServer().serving() as url, platform(home, url) as started:
        client = started.client

        async def latched() -> dict[str, str]:
            async with asyncio.timeout(60):
                while True:
                    if found := (await client.get("/v1/interrupts")).json()["data"]:
                        return dict(found[0])
                    await asyncio.sleep(0.05)

        for origin in ("SIGUSR1", "file STOP"):
            if origin == "SIGUSR1":
                started.process.send_signal(signal.SIGUSR1)
            else:
                (home / "STOP").write_text("drill")
            stop = await latched()
            assert stop["created_by"].startswith(f"{origin} on ")
            assert (await client.post("/v1/runs", json=run)).status_code == 423
            (home / "STOP").unlink(missing_ok=True)
            assert (await client.delete(f"/v1/interrupts/{stop['id']}")).status_code == 200
        assert (await client.post("/v1/runs", json=run)).status_code == 201


@pytest.mark.slow
async def test_what_is_wrong_at_start_is_one_line(tmp_path: Path) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = str(taken.getsockname()[1])
    no_model = environment(tmp_path / "home", "http://127.0.0.1:1")
    own_model = {**no_model, "FLIGHTLOOP_MODEL_URL": ""}
    (program := tmp_path / "prometheus").touch(0o755)
    with_prometheus = {**own_model, "PATH": f"{program.parent}:{os.environ['PATH']}", "FLIGHTLOOP_PORT": free_port()}
    broken = tmp_path / "agents" / "one.yaml"
    broken.parent.mkdir()
    broken.write_text("name: [\n")  # the parser's words are several lines
    cases = [
        (["serve", "--port", port], no_model, f"port {port} on 127.0.0.1 is taken"),
        (["serve", "--port", "0"], no_model, "FLIGHTLOOP_MODEL_URL: no answer"),
        (["serve", "--port", "0"], own_model, "FLIGHTLOOP_MODEL_URL: not set; "),
        (["worker"], own_model, "the embedded model runs on Ray only: python -m agent up"),
        (["serve"], {**no_model, "FLIGHTLOOP_PORT": "x"}, "FLIGHTLOOP_PORT: "),
        (["serve", "--port", "0", "--project", str(tmp_path)], no_model, "one.yaml:2: not YAML"),
        (["dashboards", "push", "http://127.0.0.1:1", "--token", "x"], no_model, "Grafana at http://127.0.0.1:1: "),
        (["up", "--port", port], own_model, f"port {port} on 127.0.0.1 is taken"),
        (["up", "--port", "0"], own_model, "FLIGHTLOOP_PORT: "),
        (["up", "--console-port", port], with_prometheus, "with --console-port or FLIGHTLOOP_CONSOLE_PORT, "),
        (
            ["up", "--no-console"],
            {**with_prometheus, "FLIGHTLOOP_PROMETHEUS_PORT": port},
            f"prometheus: port {port} is taken; choose another with --prometheus-port or FLIGHTLOOP_PROMETHEUS_PORT",
        ),
    ]
    try:
        ends = await asyncio.gather(*(told(*line, env=env) for line, env, _ in cases))
        for (code, _, err), (_, _, says) in zip(ends, cases, strict=True):
            assert code == 2
            assert err.count("\n") == 1, err
            assert err.startswith("error: ")
            assert says in err
    finally:
        taken.close()


@pytest.mark.slow
async def test_policy_cases(tmp_path: Path) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text("name: p\nversion: 1\ntools: {allow: {'*': [add]}}\n")
    cases = tmp_path / "cases.jsonl"
    good = [
        {"stage": "input", "text": "hello", "expect": "allow"},
        {"stage": "tool_call", "tool": "rm", "expect": "block"},
    ]
    cases.write_text("\n".join(map(json.dumps, good)))
    env = environment(tmp_path, "http://127.0.0.1:1")
    code, out, _ = await told("policy", "test", str(policy), str(cases), env=env)
    assert (code, "2 of 2" in out) == (0, True)
    cases.write_text(json.dumps({**good[1], "expect": "allow"}))
    code, out, _ = await told("policy", "test", str(policy), str(cases), env=env)
    assert (code, "cases.jsonl:1: expected allow, got block" in out) == (1, True)
    cases.write_text('{"stage": "nowhere", "expect": "allow"}')
    code, _, err = await told("policy", "test", str(policy), str(cases), env=env)
    assert (code, "cases.jsonl:1: stage" in err) == (2, True)


async def test_a_policy_is_checked_with_its_project(tmp_path: Path) -> None:
    write_project(tmp_path / "notes")
    policy = tmp_path / "notes" / "policies" / "notes.yaml"
    env = environment(tmp_path / "home", "http://127.0.0.1:1")
    assert (await told("policy", "test", str(policy), env=env))[0] == 0
    policy.write_text(policy.read_text().replace("tools:\n", "tools:\n  ask: [{tool: add_remind}]\n", 1))
    code, _, err = await told("policy", "test", str(policy), env=env)
    assert (code, "tools.ask.0.tool: no tool is named add_remind; did you mean add_reminder" in err) == (2, True)
