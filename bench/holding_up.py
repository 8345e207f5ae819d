"""``python -m bench holding-up`` measures latency of a stop and a probe while another tenant floods the platform.

The model is replaced by a scripted server in a process of its own, since only the platform is measured.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from bench.floods import FLOODS, flood
from bench.platform import Platform, PlatformFailed
from bench.rows import Row, median_row
from bench.scripted_model import scripted_model

ROUNDS = 25
PAUSE_S = 0.2
LEAD_S = 2.0
"""Seconds from the start of the flood to the first stop."""
OTHER = "a-key-of-the-flooding-tenant"
MODEL = "scripted"


def measure(console: Console, port: int, kinds: Sequence[str], *, ray: bool) -> list[Row]:
    """Runs the measurement.

    Args:
        kinds: kinds of requests in ``bench.floods.FLOODS``; empty: all.
        ray: use a deployment on Ray instead of ``python -m agent serve``.

    Raises:
        PlatformFailed: the platform did not start, or answered a stop or a probe with an error.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder, scripted_model(_model) as url:
        environment = {
            "FLIGHTLOOP_MODEL_URL": url,
            "FLIGHTLOOP_TENANT_KEYS": json.dumps({"flooding": OTHER}),
            "FLIGHTLOOP_REQUESTS_PER_MINUTE": "1000000",
        }
        options, command = (("--no-console", "--no-prometheus"), "up") if ray else ((), "serve")
        with Platform(Path(folder), port, options, environment, command=command) as platform:
            for kind in kinds or FLOODS:
                with console.status(kind):
                    found, answers = _flooded(platform, kind)
                rows += _rows(kind, found, answers)
    return rows


def _model() -> ScriptedServer:
    return ScriptedServer(ScriptedAnswer(text="yes"), models=(MODEL,))


def _flooded(platform: Platform, kind: str) -> tuple[dict[str, list[float]], list[int]]:
    """Milliseconds of stop, clearing and probe per round; and answers to the flood by the first digit of their
    status."""
    context = multiprocessing.get_context("spawn")
    stop, sent = context.Event(), context.Array("i", 6)
    arguments = (platform.url, OTHER, MODEL, kind, stop, sent)
    process = context.Process(target=flood, args=arguments, daemon=True)
    process.start()
    try:
        time.sleep(LEAD_S)
        found = _probed(platform)
    finally:
        stop.set()
        process.join(5)
        process.kill()
        process.join()
    _settle(platform)
    return found, [int(count) for count in sent.get_obj()]


def _settle(platform: Platform) -> None:
    """Ends the flood's remaining runs by a stop of its tenant."""
    headers = {"authorization": f"Bearer {OTHER}"}
    with httpx.Client(base_url=platform.url, headers=headers, timeout=120) as client:
        stop = client.post("/v1/interrupts", json={"reason": "the flood is over"}).json()
        client.get("/v1/models")
        client.delete(f"/v1/interrupts/{stop['id']}")


def _probed(platform: Platform) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"stop": [], "clear": [], "healthz": [], "readyz": []}
    headers = {"authorization": f"Bearer {platform.key}"}
    with httpx.Client(base_url=platform.url, headers=headers, timeout=300) as client:
        for _ in range(ROUNDS):
            raised = _timed(found["stop"], client, "POST", "/v1/interrupts", {"reason": "measurement"})
            _timed(found["clear"], client, "DELETE", f"/v1/interrupts/{raised['id']}")
            _timed(found["healthz"], client, "GET", "/healthz")
            _timed(found["readyz"], client, "GET", "/readyz")
            time.sleep(PAUSE_S)
    return found


def _timed(into: list[float], client: httpx.Client, method: str, path: str, body: Any = None) -> dict[str, Any]:
    began = time.perf_counter()
    answer = client.request(method, path, json=body)
    into.append((time.perf_counter() - began) * 1000)
    if answer.is_error:
        raise PlatformFailed(f"{method} {path} was answered with {answer.status_code}: {answer.text[:300]}")
    document: dict[str, Any] = answer.json()
    return document


def _rows(kind: str, found: dict[str, list[float]], answers: Sequence[int]) -> list[Row]:
    told = ", ".join(f"{count} answers {digit}xx" for digit, count in enumerate(answers) if count)
    rows = []
    for name, values in found.items():
        rows.append(median_row(f"holding_up_{kind}_{name}_ms", values, "ms", higher_is_better=False))
        worst = Row(f"holding_up_{kind}_{name}_ms_max", max(values), "ms", higher_is_better=False, note=told)
        rows.append(worst)
    return rows
