"""Rows of decoding: one stream against llama.cpp, many against vllm, and all engines by number of streams."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

from bench.engine.bench import Bench
from bench.engine.contest import Player, TaskOf, contest, rate, seed_of
from bench.engine.models import FORMATS
from bench.rows import Row, spread_of
from flightloop.errors import ConfigError

PEERS = ("llama_cpp", "vllm", "transformers")
PROMPT = 32
"""Tokens of a stream's prompt: short, since only decoding is measured."""


TRIAL = 12
"""New tokens per stream when a peer's settings are tried."""


def decode_task(streams: int, new_tokens: int, prompt: int = PROMPT) -> TaskOf:
    """Decoding tasks with new prompts in each round."""
    return lambda turn: {
        "task": "decode",
        "streams": streams,
        "prompt_tokens": prompt,
        "new_tokens": new_tokens,
        "seed": seed_of(f"decode {streams} {prompt}", turn),
    }


def decode(streams: int, peer: str) -> Callable[[Bench], list[Row]]:
    """The row ``decode_<streams>``: the dense base in the fastest format against one peer."""

    def measure(bench: Bench) -> list[Row]:
        task = decode_task(streams, bench.size.new_tokens)
        subject = bench.dense(slots=streams)
        players, lost = bench.players(subject, peer, like=decode_task(streams, TRIAL)(0))
        taken = contest(players, task, rate, bench.size.rounds, bench.told, lost)
        return [taken.row(f"decode_{streams}", "tok/s", peer, note=f"{subject.format}, drafts off")]

    return measure


def decode_avx2(bench: Bench) -> list[Row]:
    """The row ``decode_1_avx2``: one stream as on a processor with AVX2 only, ours and llama.cpp's."""
    peer = "llama_cpp_avx2"
    subject = bench.limited("avx2", slots=1)
    players, lost = bench.players(subject, peer, like=decode_task(1, TRIAL)(0))
    taken = contest(players, decode_task(1, bench.size.new_tokens), rate, bench.size.rounds, bench.told, lost)
    return [taken.row("decode_1_avx2", "tok/s", peer, note=f"{subject.format}, both without AVX-VNNI and AVX-512")]


def throughput(bench: Bench) -> list[Row]:
    """Rows ``throughput_<engine>_<streams>`` of our formats and of all peers."""
    rows = []
    players: dict[str, Player] = {}
    for dtype in FORMATS:
        try:
            players[dtype] = bench.dense(dtype, slots=max(bench.size.streams))
        except ConfigError:
            continue  # not supported by this processor
    for streams in bench.size.streams:
        peers, _ = bench.peers(*PEERS, like=decode_task(streams, TRIAL)(0))
        rows += _curve_points(bench, players | peers, streams, max(1, bench.size.rounds // 2))
    return rows


def _curve_points(bench: Bench, players: Mapping[str, Player], streams: int, rounds: int) -> list[Row]:
    task = decode_task(streams, max(3, bench.size.new_tokens // 2))
    taken = contest(players, task, rate, rounds, lambda what: bench.told(f"{streams} streams: {what}"))
    return [
        Row(f"throughput_{name}_{streams}", statistics.median(values), "tok/s", spread=spread_of(values))
        for name, values in taken.values.items()
    ]
