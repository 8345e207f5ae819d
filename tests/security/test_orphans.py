"""Nothing outlives whoever started it: killed or stopped, no process, no port and no half message is left."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from agent.serve.sweeper import left_of, sweep
from agent.serve.tether import tethered
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop import AsyncFlightloop
from flightloop.events import ToolIntent
from observability.config import TracingConfig
from observability.tracing import close, setup
from tests.security.platforms import OnRay, alive, environment, on_ray, standalone, until

LONG = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(600)"]
STOP_S = 20.0
"""A stop takes some three seconds, here beside other tests; what it could wait for would take minutes."""
RAYS = ("gcs_server", "raylet")
HANG = "from flightloop import tool\n\n@tool(effect='unsafe', timeout_s=600)\ndef hang() -> str:\n    '''Hangs.'''\n"
SAYS_CALL = ScriptedAnswer(calls=[{"name": "hang", "arguments": "{}"}])


def project(folder: Path) -> Path:
    for name in ("agents", "policies"):
        (folder / name).mkdir(parents=True)
    (folder / "tools.py").write_text(f"import time\n{HANG}    time.sleep(600)\n    return ''\n")
    # After a crash nobody knows whether it hung: otherwise a person would be asked before it is called again.
    (folder / "policies" / "open.yaml").write_text(
        "name: open\nversion: 1\ntools: {allow: {'*': [hang]}, repeated_writes: allow}\n"
    )
    (folder / "agents" / "one.yaml").write_text(
        "name: one\ninstructions: Help.\nplanning: false\ntools: [hang]\npolicy: open\n"
    )
    return folder


def settings(folder: Path, model_url: str) -> dict[str, str]:
    return {"FLIGHTLOOP_MODEL_URL": model_url, "FLIGHTLOOP_PROJECT": str(project(folder / "project"))}


def gone(processes: list[psutil.Process]) -> bool:
    return psutil.wait_procs(processes, timeout=STOP_S)[1] == []


# A program beside us


def test_a_tethered_program_ends_with_its_parent(tmp_path: Path) -> None:
    parent = "import subprocess, sys, time; from agent.serve.tether import tethered; print(subprocess.Popen(tethered("
    code = f"{parent}{LONG!r}), stdout=subprocess.PIPE).stdout.readline(), flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], env=environment(tmp_path), stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert b"begun" in started.stdout.readline()
        children = psutil.Process(started.pid).children(recursive=True)
        assert len(children) == 1
        started.kill()
    assert gone(children)


def test_a_tethered_program_does_not_begin_without_its_parent(tmp_path: Path) -> None:
    command = [argument if argument != str(os.getpid()) else "1" for argument in tethered(LONG)]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"")


# What Ray leaves behind


def test_the_sweeper_ends_a_sessions_workers_and_nobody_else(tmp_path: Path) -> None:
    def process(title: str, session: str) -> psutil.Process:
        log = tmp_path / session / "logs" / "x.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = ["bash", "-c", f"exec -a '{title}' sleep 600"]
        with log.open("ab") as output:
            return psutil.Process(subprocess.Popen(command, stdout=output).pid)

    ours = [process("ray::ProxyActor", "session_1"), process("python default_worker.py --x", "session_1")]
    others = [process("ray::ProxyActor", "session_2"), process("tail", "session_1")]
    everybody = [*ours, *others]
    try:
        while any(one.name() != "sleep" for one in everybody):
            time.sleep(0.01)  # they have to have taken their titles
        sweep(tmp_path / "session_1")
        assert left_of(tmp_path / "session_1") == []
        assert alive(everybody) == others
    finally:
        for one in alive(everybody):
            one.kill()
        psutil.wait_procs(everybody)


# One process


@pytest.mark.slow
async def test_a_killed_process_leaves_no_tool_behind(tmp_path: Path) -> None:
    async with (
        ScriptedServer(SAYS_CALL).serving() as url,
        standalone(environment(tmp_path, **settings(tmp_path, url))) as platform,
    ):
        await at_work(platform.url, platform.key)
        children = platform.children()
        platform.process.kill()
        await platform.process.wait()
    assert children
    assert await asyncio.to_thread(gone, children)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
async def test_a_stop_waits_for_nobody(tmp_path: Path, by: signal.Signals) -> None:
    """Neither for a tool, nor for a stream, a model that doesn't answer, or a collector of traces."""
    model = ScriptedServer(SAYS_CALL, ScriptedAnswer(gate=(never := asyncio.Event())))
    async with model.serving() as url:
        env = environment(tmp_path, **settings(tmp_path, url), FLIGHTLOOP_OTLP_ENDPOINT="http://127.0.0.1:1")
        async with standalone(env) as platform:
            run_id = await at_work(platform.url, platform.key)
            requests = open_requests(platform.url, platform.key, run_id)
            await until(lambda: len(model.requests) == 2)
            children = platform.children()
            platform.process.send_signal(by)
            async with asyncio.timeout(STOP_S):
                assert await platform.process.wait() == 0
            assert platform.process.stderr is not None
            assert b"Traceback" not in await platform.process.stderr.read()
            assert await asyncio.gather(*requests) == [200, 503]
        never.set()
    assert await asyncio.to_thread(gone, children)


def test_tracing_is_closed_without_its_collector() -> None:
    provider = setup(TracingConfig(endpoint="http://127.0.0.1:1", directory=None))
    with provider.get_tracer("test").start_as_current_span("one"):
        pass
    began = time.monotonic()
    close(provider, within_s=0.1)
    assert time.monotonic() - began < 5  # it would try for more than seven seconds


# On Ray


@pytest.mark.ray
@pytest.mark.slow
async def test_a_killed_platform_leaves_nothing_and_starts_again(tmp_path: Path) -> None:
    silent = ScriptedAnswer(gate=(never := asyncio.Event()))
    model = ScriptedServer(SAYS_CALL, SAYS_CALL, silent, silent)
    async with model.serving() as url:
        with on_ray(tmp_path, **settings(tmp_path, url)) as platform:
            await asyncio.to_thread(platform.start)
            run_id = await at_work(platform.url, platform.key)
            family = family_of(platform)
            assert any("dashboards" in " ".join(process.cmdline()) for process in family)
            platform.end(signal.SIGKILL)
            assert await asyncio.to_thread(gone, family)

            await asyncio.to_thread(platform.start)
            await called(platform.url, platform.key, run_id, times=2)  # the run goes on
            family = family_of(platform)
            assert {"127.0.0.1"} == {address for one in family if one.name() in RAYS for address in listening(one)}
            (gcs,) = [one for one in family if one.name() == "gcs_server"]
            assert not answers_strangers(gcs)
            gcs.kill()
            await until(lambda: platform.said.count("Ctrl-C stops everything") == 2, timeout_s=120)
            assert "Ray's gcs_server ended unexpectedly" in platform.said
            assert await asyncio.to_thread(gone, family[1:])
            await until(lambda: len(model.requests) == 3)  # and once more

            family = family_of(platform)
            requests = open_requests(platform.url, platform.key, run_id)
            await until(lambda: len(model.requests) == 4)
            began = time.monotonic()
            assert await asyncio.to_thread(platform.end, signal.SIGTERM) == 0
            assert time.monotonic() - began < STOP_S
            assert await asyncio.gather(*requests) == [200, 503]
        never.set()
    assert await asyncio.to_thread(gone, family)
    assert platform.said.endswith("stopping …\n"), platform.said


@pytest.mark.ray
@pytest.mark.slow
def test_a_stop_during_the_start(tmp_path: Path) -> None:
    with on_ray(tmp_path, FLIGHTLOOP_MODEL_URL="http://127.0.0.1:1") as platform:
        family = platform.start(until="loading the model")
        assert platform.end(signal.SIGINT) == 0
    assert gone(family)
    assert platform.said.endswith("stopping …\n"), platform.said


def answers_strangers(process: psutil.Process) -> bool:
    """Whether it says anything to HTTP/2's greeting of somebody without a certificate of the cluster."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    (port,) = {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as line,
            context.wrap_socket(line) as client,
        ):
            client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4" + bytes(5))
            return client.recv(1) != b""
    except OSError:
        return False


def listening(process: psutil.Process) -> list[str]:
    """At which addresses it does."""
    found = [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    return [each.laddr.ip.removeprefix("::ffff:") for each in found]


def family_of(platform: OnRay) -> list[psutil.Process]:
    assert platform.process is not None
    first = psutil.Process(platform.process.pid)
    return [first, *first.children(recursive=True)]


async def at_work(url: str, key: str) -> str:
    """Starts a run; returns its id when its tool has begun."""
    async with AsyncFlightloop(url, key) as client:
        run = await client.runs.create(agent="one", input="go")
    await called(url, key, run.id)
    return run.id


async def called(url: str, key: str, run_id: str, times: int = 1) -> None:
    """Returns when a tool has begun so many times for the run."""
    async with AsyncFlightloop(url, key) as client:
        async for event in client.runs.stream(run_id):
            times -= isinstance(event, ToolIntent)
            if times == 0:
                return
    raise AssertionError("the run has ended")


def open_requests(url: str, key: str, run_id: str) -> list[asyncio.Task[int]]:
    """Requests that would stay open for ever: a stream of events, and a completion whose model doesn't answer."""
    question = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    return [
        asyncio.create_task(to_its_end(url, key, "GET", f"/v1/runs/{run_id}/events")),
        asyncio.create_task(to_its_end(url, key, "POST", "/v1/chat/completions", question)),
    ]


async def to_its_end(url: str, key: str, method: str, path: str, body: object = None) -> int:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=None) as client:
        return (await client.request(method, path, json=body)).status_code
