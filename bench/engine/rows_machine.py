"""Rows of start-up, memory, and competition with other processes."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.engine.bench import Bench
from bench.engine.child import Start, Stepper, started
from bench.engine.contest import alternate
from bench.engine.machine import taken_core
from bench.engine.models import fastest
from bench.peers.environment import PeerError
from bench.rows import Row, spread_of
from model.config import ModelConfig
from model.native.build import compiled

PEERS = ("llama_cpp", "vllm", "transformers")


def decode_busy(bench: Bench) -> list[Row]:
    """The row ``decode_1_busy``: one stream while two other processes compute, to the same on a quiet machine."""
    bench.told("starting a separate engine")
    with Stepper({"model": bench.models.name, "routed_experts": 0}, bench.size.new_tokens) as stepper:

        def crowded() -> float:
            with taken_core(), taken_core():
                return stepper.tokens_per_second()

        measures = {"busy": crowded, "quiet": stepper.tokens_per_second}
        taken = alternate(measures, bench.size.rounds, bench.told)
    note = f"1 stream, two other processes compute; {fastest(bench.models.name)}, threads as the engine chooses them"
    return [taken.row("decode_1_busy", "tok/s", "quiet", ours="busy", note=note)]


def first_start(bench: Bench) -> list[Row]:
    """The row ``first_start_seconds``: the file is at hand, its packed weights are not."""
    seconds = []
    for turn in range(min(2, bench.size.rounds)):
        bench.told(f"first start {turn + 1}")
        with tempfile.TemporaryDirectory() as folder:
            kernels = compiled(Path(ModelConfig().cache).expanduser())
            (Path(folder) / kernels.name).symlink_to(kernels)
            seconds.append(started({"model": bench.models.name, "cache": folder}).seconds)
    note = f"the embedded mixture, {fastest(bench.models.name)}; kernels compiled, weights packed at this start"
    value = statistics.median(seconds)
    return [Row("first_start_seconds", value, "s", higher_is_better=False, spread=spread_of(seconds), note=note)]


def start(bench: Bench) -> list[Row]:
    """Rows ``start_seconds``, ``start_vs_<peer>``, ``memory_vs_<peer>``, for a second start, with warm caches."""
    bench.told("first start, to fill the caches")
    model = {"model": bench.models.name}
    started(model)
    starts = []
    for turn in range(bench.size.rounds):
        bench.told(f"start {turn + 1} of {bench.size.rounds}")
        starts.append(started(model))
    seconds = [each.seconds for each in starts]
    value, spread = statistics.median(seconds), spread_of(seconds)
    note = f"the embedded mixture, {fastest(bench.models.name)}; from starting Python to the first token"
    rows = [Row("start_seconds", value, "s", higher_is_better=False, spread=spread, note=note)]
    memory = statistics.median(each.memory for each in starts) / 2**20
    for peer in PEERS:
        theirs, why = _peer_start(bench, peer)
        begun, held = (theirs.seconds, theirs.memory / 2**20) if theirs else (None, None)
        rows.append(Row(f"start_vs_{peer}", value, "s", peer, begun, False, spread, note=why))
        rows.append(Row(f"memory_vs_{peer}", memory, "MiB", peer, held, False, note=why))
    return rows


def _peer_start(bench: Bench, name: str) -> tuple[Start | None, str | None]:
    """A peer's start and memory. Earlier measurements have filled its caches, so this is a second start too."""
    bench.told(f"starting {name}")
    try:
        bench.rivals.end()
        peer = bench.rivals.get(name)
        first = peer.ask({"task": "prefill", "tokens": 8, "seed": 0})["seconds"]
        return Start(peer.loaded_s + first, int(peer.ask({"task": "memory"})["peak"])), None
    except PeerError as error:
        return None, str(error).splitlines()[0]


def busy(bench: Bench) -> list[Row]:
    """Rows ``busy_step`` (the engine's choice of threads) and ``busy_step_all`` (a thread per processor)."""
    return [
        *_busy(bench, "busy_step", {}, "threads as the engine chooses them"),
        *_busy(bench, "busy_step_all", {"threads": bench.threads}, f"{bench.threads} threads"),
    ]


def _busy(bench: Bench, name: str, config: Mapping[str, Any], note: str) -> list[Row]:
    bench.told("starting a separate engine")
    with Stepper({"model": bench.models.name, **config}, 2 * bench.size.new_tokens) as stepper:

        def crowded() -> float:
            with taken_core():
                return stepper.milliseconds()

        measures = {"busy": crowded, "quiet": stepper.milliseconds}
        taken = alternate(measures, bench.size.rounds, bench.told)
    note = f"a step, 1 stream, {fastest(bench.models.name)}, {note}"
    return [taken.row(name, "ms", "quiet", ours="busy", higher_is_better=False, note=note)]
