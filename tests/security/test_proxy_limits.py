"""Serve's HTTP proxy keeps to the same limits as the front, and what starts Ray otherwise is told."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import httpx
import pytest
import structlog

from agent.serve import bounded_proxy
from agent.serve.bounded_http import HttpLimits
from agent.serve.bounded_proxy import CALLBACK, VARIABLE, ask_for_limits, check_limits
from agent.testing.model_server import ScriptedServer
from tests.security.platforms import on_ray
from tests.security.raw_http import asked, connected

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
PLENTY = 8 * 1024 * 1024
"""Bytes that no server should take as a head."""


@pytest.mark.ray
@pytest.mark.slow
async def test_the_proxy_has_the_limits_of_the_front(tmp_path: Path) -> None:
    async with ScriptedServer().serving() as model:
        with on_ray(tmp_path, FLIGHTLOOP_MODEL_URL=model) as platform:
            await asyncio.to_thread(platform.start)
            _check_session(tmp_path, Path(platform.env["RAY_TMPDIR"]))
            for start, piece in ((GET + b"x-a: ", b"a" * 65536), (GET, b"a:b\r\n" * 13107)):
                async with connected(platform.url) as raw:
                    await raw.send(start)
                    assert await raw.flood(piece, PLENTY) < PLENTY
            status, document = await asked(platform.url, GET + b"a:b\r\n" * HttpLimits().head_fields + b"\r\n")
            assert (status, document["error"]["code"]) == (431, "head_too_large")
            async with httpx.AsyncClient(base_url=platform.url, timeout=30) as client:
                assert (await client.get("/healthz")).status_code == 200
                assert (await client.post("/v1/runs", content=b"{")).status_code == 401


def _check_session(home: Path, above: Path) -> None:
    """Of a running platform: nobody else reaches Ray's folders, and no token lies in the home for later starts."""
    [session] = above.iterdir()
    assert stat.S_IMODE(session.stat().st_mode) == 0o700
    assert list(session.glob("ray/session_*/sockets"))
    assert not (home / ".ray").exists()


def test_a_ray_that_was_started_without_limits_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "somebody.elses")
    ask_for_limits()
    with structlog.testing.capture_logs() as logs:
        check_limits()
    assert [f"{VARIABLE}={CALLBACK}" in entry["event"] for entry in logs] == [True]
    monkeypatch.delenv(VARIABLE)
    ask_for_limits()
    with structlog.testing.capture_logs() as logs:
        check_limits()
    assert logs == []
    assert f"{bounded_proxy.__name__}.{bounded_proxy.install.__name__}" == CALLBACK
