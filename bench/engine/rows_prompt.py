"""Rows of prompt processing: new prompts, and prompts with a cached prefix."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from bench.engine.bench import Bench
from bench.engine.contest import OURS, alternate, contest, seed_of
from bench.peers.protocol import Answer
from bench.rows import Row, spread_of

ADDED = 100
PEERS = ("vllm", "llama_cpp")


def prefill(name: str, length: Callable[[Bench], int]) -> Callable[[Bench], list[Row]]:
    """A row of prompt tokens per second up to the answer's first token, for new prompts, against the better peer."""

    def measure(bench: Bench) -> list[Row]:
        tokens = length(bench)

        def task(turn: int) -> dict[str, Any]:
            return {"task": "prefill", "tokens": tokens, "seed": seed_of(name, turn)}

        def rate(answer: Answer) -> float:
            return tokens / float(answer["seconds"])

        subject = bench.dense(slots=1, max_context=tokens + 64)
        players, lost = bench.players(subject, *PEERS, like=task(0))
        taken = contest(players, task, rate, bench.size.rounds, bench.told, lost)
        return [taken.row(name, "tok/s", taken.better(*PEERS), note=f"{tokens:,} tokens, {subject.format}")]

    return measure


def warm_ttft(bench: Bench) -> list[Row]:
    """Rows ``warm_ttft_vs_<peer>``: time to the first token if all but the last 100 prompt tokens are cached."""
    first = bench.size.prompt

    def task(turn: int) -> dict[str, Any]:
        return {"task": "warm_prefix", "first": first, "added": ADDED, "seed": seed_of("warm_ttft", turn)}

    subject = bench.dense(slots=1)
    players, lost = bench.players(subject, *PEERS, like=task(0))
    taken = contest(players, task, lambda answer: 1e3 * answer["second_seconds"], bench.size.rounds, bench.told, lost)
    note = f"{first:,} tokens known, {ADDED} new; {subject.format}"
    return [taken.row(f"warm_ttft_vs_{peer}", "ms", peer, higher_is_better=False, note=note) for peer in PEERS]


def second_step_ttft(bench: Bench) -> list[Row]:
    """Time to the first token in a run's second step relative to its first."""
    first = bench.size.step
    subject = bench.mixture(slots=1, max_context=first + 2 * ADDED)
    pairs: list[Answer] = []

    def measure() -> float:
        pairs.append(subject.warm_prefix(first, ADDED, seed=len(pairs)))
        return 0.0

    alternate({OURS: measure}, bench.size.rounds, bench.told)
    firsts, seconds = ([1e3 * pair[key] for pair in pairs[1:]] for key in ("first_seconds", "second_seconds"))
    return [
        Row(
            "second_step_ttft",
            statistics.median(seconds),
            "ms",
            peer="first step",
            peer_value=statistics.median(firsts),
            higher_is_better=False,
            spread=spread_of(seconds),
            peer_spread=spread_of(firsts),
            note=f"{first:,} tokens, then {ADDED} more; the embedded mixture, {subject.format}",
        )
    ]
