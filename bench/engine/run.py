"""``python -m bench engine`` selects the measurements and runs them one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console

from bench.engine import machine, rows_calls, rows_decode, rows_formats, rows_long, rows_machine, rows_mixture
from bench.engine import rows_prompt as prompts
from bench.engine.bench import Bench, Size
from bench.engine.models import Models
from bench.engine.plot import curves, draw
from bench.engine.rivals import PEERS, Rivals, peer_options
from bench.errors import BenchError
from bench.peers.environment import PeerError
from bench.rows import Row
from flightloop.errors import FlightloopError
from model.config import STANDARD

Measurement = Callable[[Bench], list[Row]]


@dataclass(frozen=True)
class Group:
    """A measurement and the names of its rows; a name that ends in ``_`` is a prefix."""

    names: Sequence[str]
    measure: Measurement

    def has(self, name: str) -> bool:
        return any(name == known or (known.endswith("_") and name.startswith(known)) for known in self.names)


GROUPS: tuple[Group, ...] = (
    Group(["decode_1"], rows_decode.decode(1, "llama_cpp")),
    Group(["decode_1_avx2"], rows_decode.decode_avx2),
    Group(["decode_1_busy"], rows_machine.decode_busy),
    Group(["decode_8"], rows_decode.decode(8, "vllm")),
    Group(["decode_32"], rows_decode.decode(32, "vllm")),
    Group(["prefill_1000"], prompts.prefill("prefill_1000", lambda bench: bench.size.prompt)),
    Group(["prefill_4000"], prompts.prefill("prefill_4000", lambda bench: bench.size.longer)),
    Group(["warm_ttft_vs_"], prompts.warm_ttft),
    Group(["second_step_ttft"], prompts.second_step_ttft),
    Group(["toolcalls_1"], rows_calls.one_call),
    Group(["toolcalls_16", "toolcalls_16_vs_"], rows_calls.toolcalls),
    Group(["grammar_tokens", "grammar_step"], rows_calls.grammar),
    Group(["speculation"], rows_calls.speculation),
    Group(["int8_size"], rows_formats.int8_size),
    Group(["int8_speed"], rows_formats.int8_speed),
    Group(["gguf_perplexity", "noop_perplexity"], rows_formats.of_file),
    Group(["int8_perplexity", "perplexity_"], rows_formats.perplexities),
    Group(["moe_overhead_1", "moe_overhead_8"], rows_mixture.moe_overhead),
    Group(["moe_vs_dense"], rows_mixture.moe_vs_dense),
    Group(["moe_vs_transformers_1", "moe_vs_transformers_8"], rows_mixture.moe_vs_transformers),
    Group(["long_10k"], rows_long.long_10k),
    Group(["long_10k_retention", "long_31k_retention"], rows_long.retention),
    Group(["busy_step", "busy_step_all"], rows_machine.busy),
    Group(["throughput_"], rows_decode.throughput),
    Group(["first_start_seconds"], rows_machine.first_start),
    Group(["start_seconds", "start_vs_", "memory_vs_"], rows_machine.start),
)


@dataclass(frozen=True)
class Wish:
    """Options of the measurement.

    Attributes:
        model: the embedded model to measure.
        rows: names of rows, or prefixes that end in ``_``; empty: all.
        peers: participating peers.
        size: size of the measurement.
        threads: threads of matrix products, ours and the peers'; None: one per processor.
        data: folder with WikiText-2 and the needles' essays.
        plot: file of the chart, written if its rows are measured.
    """

    model: str = STANDARD
    rows: Collection[str] = ()
    peers: Collection[str] = PEERS
    size: Size = field(default_factory=Size)
    threads: int | None = None
    data: Path = Path("../shared/data")
    plot: Path | None = None


def measure(
    console: Console,
    wish: Wish,
    made: Models | None = None,
    done: Callable[[list[Row]], None] = lambda rows: None,
) -> list[Row]:
    """Runs the measurements. The first row describes the machine.

    Args:
        console: shows progress and warnings; a measurement that fails is reported and skipped.
        wish: what to measure.
        made: replaces the real models, for tests.
        done: called with all rows so far after each measurement, since a run takes long and may be interrupted.

    Raises:
        BenchError: a row or a peer is unknown.
    """
    groups = chosen(wish.rows)
    _check_peers(wish.peers)
    facts, threads = machine.describe(), wish.threads or machine.cores()
    console.print(facts, style="dim", highlight=False)
    loud = heard(console)
    torch.set_num_threads(threads)
    began = time.perf_counter()
    rows = [described(threads, [facts], loud)]
    with console.status("starting") as status:
        progress = _Progress(lambda text: status.update(text), len(groups), began)
        with Rivals(wish.peers, peer_options(threads, wish.model), progress.told) as rivals:
            bench = Bench(made or Models(wish.model), rivals, threads, wish.data, wish.size, progress.told)
            for group in groups:
                progress.next(group.names[0])
                try:
                    rows += group.measure(bench)
                except (BenchError, FlightloopError, PeerError) as error:
                    console.print(f"{group.names[0]} was not measured: {error}", style="yellow", markup=False)
                if group is groups[-1]:
                    loud = loud or heard(console)
                rows[0] = described(threads, [facts, *map(" ".join, rivals.versions.items())], loud)
                done(rows)
    minutes, seconds = divmod(round(time.perf_counter() - began), 60)
    console.print(f"{len(rows)} rows in {minutes} min {seconds} s", style="dim")
    if wish.plot is not None and (lines := curves(rows)):
        wish.plot.write_text(draw(lines, rows[0].note or ""))
    return rows


def heard(console: Console) -> str | None:
    """Checks whether the machine is quiet. Returns and prints why not; None if it is."""
    loud = machine.noise()
    if loud:
        console.print(f"The machine is not quiet: {loud}. The figures are not reliable.", style="yellow")
    return loud


def described(threads: float, facts: Sequence[str], loud: str | None) -> Row:
    """The row that describes the machine."""
    return Row("machine", threads, "threads", note="; ".join([*facts, *([f"NOT QUIET: {loud}"] if loud else [])]))


def chosen(names: Collection[str]) -> list[Group]:
    """The measurements that produce these rows.

    Raises:
        BenchError: an unknown name.
    """
    for name in names:
        if not any(group.has(name) or name in group.names for group in GROUPS):
            known = ", ".join(known + "*" * known.endswith("_") for group in GROUPS for known in group.names)
            raise BenchError(f"unknown row {name!r}; choose from {known}")
    return [group for group in GROUPS if not names or any(group.has(name) for name in names)]


def _check_peers(names: Collection[str]) -> None:
    if unknown := sorted(set(names) - set(PEERS)):
        raise BenchError(f"unknown peer {unknown[0]!r}; choose from {', '.join(PEERS)}, or none")


class _Progress:
    """Progress on one line: number of the measurement, its activity, and the time so far."""

    def __init__(self, show: Callable[[str], None], count: int, began: float) -> None:
        self._show, self._count, self._began = show, count, began
        self._place, self._name = 0, ""

    def next(self, name: str) -> None:
        self._place += 1
        self._name = name.rstrip("_")
        self.told("")

    def told(self, what: str) -> None:
        minutes, seconds = divmod(round(time.perf_counter() - self._began), 60)
        self._show(f"[{self._place}/{self._count}] {self._name} {what} ({minutes}:{seconds:02d})".replace("[", "\\["))
