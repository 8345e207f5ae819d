"""``serve run agent.app:build``: the README's command on a Ray cluster, as printed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import httpx
import pytest

from agent.testing.model_server import ScriptedAnswer, ScriptedServer

pytestmark = [pytest.mark.ray, pytest.mark.slow]
URL = "http://127.0.0.1:8000"
START_S = 120.0


def is_taken() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 8000)) == 0


@pytest.mark.skipif(is_taken(), reason="port 8000, where Serve listens, is taken")
async def test_it_answers_and_ends(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("serve")
    async with ScriptedServer(ScriptedAnswer(text="Hello.")).serving() as model:
        env = {**os.environ, "FLIGHTLOOP_HOME": str(tmp_path / "home"), "FLIGHTLOOP_MODEL_URL": model}
        with (tmp_path / "log").open("wb") as log:
            serve = await asyncio.create_subprocess_exec(
                command, "run", "agent.app:build", cwd=tmp_path, env=env, stdout=log, stderr=log,
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
            )  # fmt: skip
        try:
            async with httpx.AsyncClient(base_url=URL, timeout=10) as client:
                await ready(client, serve)
                key = (tmp_path / "home" / "key").read_text().strip()
                body = {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]}
                answer = await client.post(
                    "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
                )
            assert answer.status_code == 200, answer.text
            assert answer.json()["choices"][0]["message"]["content"] == "Hello."
        except BaseException:
            print((tmp_path / "log").read_text()[-4000:])
            raise
        finally:
            if serve.returncode is None:
                serve.send_signal(signal.SIGINT)
            await asyncio.wait_for(serve.wait(), 60)


async def ready(client: httpx.AsyncClient, serve: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_S):
        while serve.returncode is None:
            try:
                if (await client.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.5)
    raise AssertionError("serve run has ended")
