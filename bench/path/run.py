"""``python -m bench path`` measures HTTP throughput relative to the engine's, the delay of the first token, and Python
frames of the project's code per token."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from agent.project.project import EMBEDDED
from bench.path.bare import bare_server
from bench.path.client import Client, client
from bench.path.engine import EngineAlone, engine_alone
from bench.path.frames import frames_per_token
from bench.platform import Platform
from bench.rows import Row, median_row, percentile_95, spread_of
from model.config import EDGE, ModelConfig
from model.weights.embedded import NAME as MODEL

STREAMS = (1, 8, 16)
TOKENS = 300
FIRST_TOKENS = 4
"""Length of an answer whose first token is timed, in tokens."""
ASKED = "Tell the story of ship number {number}, which crosses all the oceans, in as many words as you can find."


@dataclass(frozen=True)
class Wish:
    """Options of the measurement.

    Attributes:
        rounds: rounds of platform and engine, alternating, for each number of streams.
        firsts: number of requests whose first token is timed, one after the other.
    """

    port: int
    rounds: int = 5
    firsts: int = 100
    streams: Sequence[int] = STREAMS


def measure(console: Console, wish: Wish, done: Callable[[list[Row]], None] = lambda rows: None) -> list[Row]:
    """Runs the measurement.

    First counts frames, in a separate process. Then alternates between a platform on Ray, with one replica, and an
    engine alone; finally between a platform without Ray and its bare model server. The platforms guard completions with
    the support agent's policy.

    Raises:
        PlatformFailed: the platform did not start.
        BenchError: an answer failed.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder, console.status("counting frames"):
        rows.append(_frames_row(_project(Path(folder) / "project")))
        done(rows)
    _with_ray(console, wish, rows, done)
    _without_ray(console, wish, rows)
    done(rows)
    return rows


def _with_ray(console: Console, wish: Wish, rows: list[Row], done: Callable[[list[Row]], None]) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder,
        console.status("starting") as status,
        engine_alone() as engine,
        client() as reader,
        Platform(
            Path(folder) / "home", wish.port, ("--no-console", "--no-prometheus"),
            {
                "FLIGHTLOOP_PROJECT": str(_project(Path(folder) / "project")),
                "FLIGHTLOOP_MODEL": EDGE, "FLIGHTLOOP_REPLICAS_MAX": "1",
            },
        ) as platform,
    ):  # fmt: skip
        ask = _Asking(reader, engine, platform, MODEL)
        ask.round(1)  # a warm-up for everything that is created once
        for streams in wish.streams:
            found = []
            for number in range(wish.rounds):
                status.update(f"{streams} streams, round {number + 1} of {wish.rounds}")
                found.append(ask.round(streams))
            rows.append(_decode_row(streams, found))
            done(rows)
        status.update(f"{wish.firsts} first tokens")
        rows += _first_rows("path_ttft_added", ask.firsts(wish.firsts))
        done(rows)


def _without_ray(console: Console, wish: Wish, rows: list[Row]) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder,
        console.status("starting without Ray") as status,
        bare_server() as url,
        client() as reader,
        Platform(
            Path(folder) / "home", wish.port, (),
            {"FLIGHTLOOP_PROJECT": str(_project(Path(folder) / "project")), "FLIGHTLOOP_MODEL_URL": url},
            command="serve",
        ) as platform,
    ):  # fmt: skip
        ask = _Asking(reader, None, platform, MODEL)
        bare = url.removesuffix("/v1")
        ask.first(platform.url)
        status.update(f"{wish.firsts} first tokens without Ray")
        pairs = [(ask.first(platform.url), ask.first(bare)) for _ in range(wish.firsts)]
        alone = statistics.median(own for _, own in pairs)
        rows += _first_rows("path_ttft_added_without_ray", [through - alone for through, _ in pairs])


@dataclass
class _Asking:
    reader: Client
    engine: EngineAlone | None
    platform: Platform
    model: str
    number: int = 0

    def round(self, streams: int) -> tuple[float, float]:
        """Tokens per second through the platform, and of the engine alone for the same requests."""
        bodies = [self._body(TOKENS) for _ in range(streams)]
        heard = self.reader.ask(self.platform.url, self.platform.key, bodies)
        through = sum(each.tokens for each in heard) / (max(e.last for e in heard) - min(e.first for e in heard))
        assert self.engine is not None
        return through, self.engine.ask(bodies)

    def firsts(self, count: int) -> list[float]:
        """Milliseconds from the request to the first text, minus the engine's part."""
        found = []
        for _ in range(count):
            [heard] = self.reader.ask(self.platform.url, self.platform.key, [self._body(FIRST_TOKENS)])
            found.append((heard.first - heard.asked - (heard.waited or 0.0)) * 1000)
        return found

    def first(self, url: str) -> float:
        """Milliseconds from a request to a server to its first text."""
        [heard] = self.reader.ask(url, self.platform.key, [self._body(FIRST_TOKENS)])
        return (heard.first - heard.asked) * 1000

    def _body(self, tokens: int) -> dict[str, Any]:
        self.number += 1
        message = {"role": "user", "content": ASKED.format(number=self.number)}
        return {
            "model": self.model, "messages": [message], "temperature": 0, "max_tokens": tokens, "ignore_eos": True
        }  # fmt: skip


def _project(folder: Path) -> Path:
    """A project whose completions use the support agent's policy, with live streams."""
    policies = folder / "policies"
    policies.mkdir(parents=True)
    text = (EMBEDDED / "policies" / "support.yaml").read_text()
    (policies / "default.yaml").write_text(text.replace("name: support\n", "name: default\n", 1))
    (folder / "agents").mkdir()
    (folder / "agents" / "clerk.yaml").write_text("name: clerk\ninstructions: Answer.\npolicy: default\n")
    return folder


def _decode_row(streams: int, found: Sequence[tuple[float, float]]) -> Row:
    through, alone = [pair[0] for pair in found], [pair[1] for pair in found]
    return Row(
        f"path_decode_{streams}",
        statistics.median(through),
        "tok/s",
        peer="the engine alone",
        peer_value=statistics.median(alone),
        spread=spread_of(through),
        peer_spread=spread_of(alone),
    )


def _frames_row(project: Path) -> Row:
    body = {
        "model": MODEL, "messages": [{"role": "user", "content": ASKED.format(number=0)}], "temperature": 0,
        "max_tokens": TOKENS, "ignore_eos": True,
    }  # fmt: skip
    found = frames_per_token(project, body, ModelConfig().stream_interval_ms)
    return Row("path_frames", found, "frames a token", higher_is_better=False)


def _first_rows(name: str, milliseconds: Sequence[float]) -> list[Row]:
    return [
        median_row(f"{name}_p50_ms", milliseconds, "ms", higher_is_better=False),
        Row(f"{name}_p95_ms", percentile_95(milliseconds), "ms", higher_is_better=False),
    ]
