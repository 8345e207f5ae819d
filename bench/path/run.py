"""``python -m bench path``: tokens through HTTP over the engine's own, and what the way adds to the first one."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from agent.project import EMBEDDED
from bench.path.client import Client, client
from bench.path.engine import EngineAlone, engine_alone
from bench.platform import Platform
from bench.rows import Row, median_row, spread_of
from flightloop import Flightloop

STREAMS = (1, 8, 16)
TOKENS = 300
FIRST_TOKENS = 4
"""Of an answer whose first token is waited for."""
ASKED = "Tell the story of ship number {number}, which crosses all the oceans, in as many words as you can find."


@dataclass(frozen=True)
class Wish:
    """
    Attributes:
        rounds: of the platform and the engine in turns, for each number of streams.
        firsts: requests whose first token is waited for, one after the other.
    """

    port: int
    rounds: int = 5
    firsts: int = 100
    streams: Sequence[int] = STREAMS


def measure(console: Console, wish: Wish, done: Callable[[list[Row]], None] = lambda rows: None) -> list[Row]:
    """Starts a platform on Ray with the support agent's policy for completions, and an engine beside it that waits.

    Raises:
        PlatformFailed: the platform did not start.
        BenchError: an answer failed.
    """
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder,
        console.status("starting") as status,
        engine_alone() as engine,
        client() as reader,
        Platform(
            Path(folder) / "home", wish.port, ("--no-console", "--no-prometheus"),
            {"FLIGHTLOOP_PROJECT": str(_project(Path(folder) / "project"))},
        ) as platform,
    ):  # fmt: skip
        with Flightloop(platform.url, platform.key) as asking:
            [card] = asking.models.list().data
        ask = _Asking(reader, engine, platform, card.id)
        ask.round(1)  # whatever is made once is made now
        for streams in wish.streams:
            found = []
            for number in range(wish.rounds):
                status.update(f"{streams} streams, round {number + 1} of {wish.rounds}")
                found.append(ask.round(streams))
            rows.append(_decode_row(streams, found))
            done(rows)
        status.update(f"{wish.firsts} first tokens")
        rows += _first_rows(ask.firsts(wish.firsts))
        done(rows)
    return rows


@dataclass
class _Asking:
    reader: Client
    engine: EngineAlone
    platform: Platform
    model: str
    number: int = 0

    def round(self, streams: int) -> tuple[float, float]:
        """Tokens per second through the platform, and from the engine alone for the same requests."""
        bodies = [self._body(TOKENS) for _ in range(streams)]
        heard = self.reader.ask(self.platform.url, self.platform.key, bodies)
        through = sum(each.tokens for each in heard) / (max(e.last for e in heard) - min(e.first for e in heard))
        return through, self.engine.ask(bodies)

    def firsts(self, count: int) -> list[float]:
        """Milliseconds from asking to the first text, less what the engine took for it."""
        found = []
        for _ in range(count):
            [heard] = self.reader.ask(self.platform.url, self.platform.key, [self._body(FIRST_TOKENS)])
            found.append((heard.first - heard.asked - (heard.waited or 0.0)) * 1000)
        return found

    def _body(self, tokens: int) -> dict[str, Any]:
        self.number += 1
        message = {"role": "user", "content": ASKED.format(number=self.number)}
        return {
            "model": self.model, "messages": [message], "temperature": 0, "max_tokens": tokens, "ignore_eos": True
        }  # fmt: skip


def _project(folder: Path) -> Path:
    """One whose completions pass the support agent's policy, which streams live."""
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


def _first_rows(milliseconds: Sequence[float]) -> list[Row]:
    p95 = statistics.quantiles(milliseconds, n=20)[-1]
    return [
        median_row("path_ttft_added_p50_ms", milliseconds, "ms", higher_is_better=False),
        Row("path_ttft_added_p95_ms", p95, "ms", higher_is_better=False),
    ]
