"""Rows of mixtures of experts: savings by inactive experts, and costs of routing."""

from __future__ import annotations

from bench.engine.bench import Bench
from bench.engine.contest import OURS, contest, rate
from bench.engine.rivals import OLMOE
from bench.engine.rows_decode import TRIAL, decode_task
from bench.engine.subject import Subject
from bench.peers.protocol import Answer
from bench.rows import Row
from model.weights.loaded import LoadedModel

STREAMS = (1, 8)


def moe_vs_dense(bench: Bench) -> list[Row]:
    """A mixture against a dense model of the same total size, both random, one stream."""
    bench.told("making random weights")
    mixture, dense = bench.models.mixture("auto"), bench.models.dense("auto")
    players = {OURS: _subject(bench, mixture, 1), "dense": _subject(bench, dense, 1)}
    taken = contest(players, decode_task(1, bench.size.new_tokens), rate, bench.size.rounds, bench.told)
    share = mixture.active_parameters / mixture.parameters
    sizes = f"{mixture.parameters / 1e6:.0f} M parameters, {share:.0%} active; dense {dense.parameters / 1e6:.0f} M"
    note = f"{sizes}; {mixture.form.dtype}"
    return [taken.row("moe_vs_dense", "tok/s", "dense", shown="dense, same size", note=note)]


def moe_vs_transformers(bench: Bench) -> list[Row]:
    """The same mixture against transformers' OLMoE of that shape."""
    rows = []
    subject = _subject(bench, bench.models.mixture("auto"), max(STREAMS))
    for streams in STREAMS:
        task = decode_task(streams, max(3, bench.size.new_tokens // 2))
        players, lost = bench.players(subject, OLMOE, like=decode_task(streams, TRIAL)(0))
        taken = contest(players, task, rate, bench.size.rounds, bench.told, lost)
        rows.append(
            taken.row(f"moe_vs_transformers_{streams}", "tok/s", OLMOE, shown="transformers OLMoE", note=subject.format)
        )
    return rows


def moe_overhead(bench: Bench) -> list[Row]:
    """A step of the embedded mixture against one of its dense base."""
    rows = []
    subject = bench.mixture(slots=max(STREAMS))
    players = {OURS: subject, "dense": bench.dense(slots=max(STREAMS))}

    def milliseconds(answer: Answer) -> float:
        return 1e3 * float(answer["step_seconds"])

    for streams in STREAMS:
        task = decode_task(streams, bench.size.new_tokens)
        taken = contest(players, task, milliseconds, bench.size.rounds, bench.told)
        rows.append(
            taken.row(
                f"moe_overhead_{streams}", "ms", "dense", shown="dense base", higher_is_better=False,
                note=f"a step, {subject.format}",
            )
        )  # fmt: skip
    return rows


def _subject(bench: Bench, loaded: LoadedModel, slots: int) -> Subject:
    return Subject(loaded, slots=slots, threads=bench.threads)
