"""Rows of long inputs: cost of a token after a long input, and share of its facts that are found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from bench.engine.bench import Bench
from bench.engine.contest import Measure, alternate
from bench.engine.rows_decode import decode_task
from bench.engine.subject import Subject
from bench.needles import essays, find, haystacks
from bench.rows import Row

NEEDLES = 15
"""Needles per haystack."""
FIRST_SEED = 1_000
"""First seed of the haystacks. The heads without a window were chosen with other seeds."""


def long_10k(bench: Bench) -> list[Row]:
    """Time per token after a long input relative to a short one: one stream, windows on."""
    size = bench.size
    subject = bench.windowed(slots=1, max_context=size.long + 2 * size.new_tokens)

    def after(prompt: int) -> Measure:
        turns = count()

        def milliseconds() -> float:
            answer = subject.ask(decode_task(1, size.new_tokens, prompt)(next(turns)))
            return 1e3 * float(answer["seconds"]) / float(answer["tokens"])

        return milliseconds

    taken = alternate({"long": after(size.long), "short": after(size.short)}, size.rounds, bench.told)
    note = f"a token, 1 stream, after {size.long:,} tokens of input; dense base, {subject.format}, {_windows(subject)}"
    return [
        taken.row(
            "long_10k", "ms", "short", ours="long", shown=f"{size.short} tokens", higher_is_better=False, note=note
        )
    ]


def retention(bench: Bench) -> list[Row]:
    """Share of the needles in long essays that are found with windows, relative to full attention, both greedy."""
    texts = essays(bench.data)
    return [_retention(bench, texts, tokens) for tokens in bench.size.hay]


def _retention(bench: Bench, texts: Sequence[str], tokens: int) -> Row:
    size = bench.size
    found: dict[str, list[bool]] = {"windows": [], "full": []}
    note = ""
    for name, hits in found.items():
        make = bench.windowed if name == "windows" else bench.dense
        subject = make(slots=1, max_context=tokens + 256)
        stacks = haystacks(
            texts,
            subject.loaded.tokenizer,
            tokens=tokens,
            needles=NEEDLES,
            seeds=range(FIRST_SEED, FIRST_SEED + size.haystacks),
        )
        for number, stack in enumerate(stacks, start=1):
            bench.told(f"{name}, haystack {number} of {size.haystacks}")
            hits += find(subject.engine, stack)
        note = note or f"{len(hits)} needles in {tokens:,} tokens each; {subject.format}, {_windows(subject)}"
    shares = {name: sum(hits) / len(hits) for name, hits in found.items()}
    name = f"long_{tokens // 1000}k_retention"
    return Row(name, shares["windows"], "found", "full attention", shares["full"], note=note)


def _windows(subject: Subject) -> str:
    shape = subject.loaded.config
    near = sum(shape.kv_heads - len(shape.globals(layer)) for layer in range(shape.layers) if shape.window(layer))
    heads = shape.layers * shape.kv_heads
    seen = f"{near} of {heads} heads see {max(shape.windows):,} tokens and the first {shape.sinks}"
    return f"{seen}, the others retrieve {shape.retrieved}" if shape.retrieved else seen
