"""Rows of long inputs: what a token costs far from the beginning, and what is still found there."""

from __future__ import annotations

from itertools import count

from bench.engine.bench import Bench
from bench.engine.contest import Measure, alternate
from bench.engine.models import WINDOW, fastest
from bench.engine.rows_decode import decode_task
from bench.rows import Row


def long_8k(bench: Bench) -> list[Row]:
    """Time a token after a long input, against a short one, one stream, windows on."""
    size = bench.size
    subject = bench.windowed(slots=1, max_context=size.long + 2 * size.new_tokens)

    def after(prompt: int) -> Measure:
        turns = count()

        def milliseconds() -> float:
            answer = subject.ask(decode_task(1, size.new_tokens, prompt)(next(turns)))
            return 1e3 * float(answer["seconds"]) / float(answer["tokens"])

        return milliseconds

    taken = alternate({"long": after(size.long), "short": after(size.short)}, size.rounds, bench.told)
    note = f"a token, 1 stream, after {size.long:,} tokens of input; dense base, {fastest()}, windows of {WINDOW:,}"
    return [
        taken.row(
            "long_8k", "ms", "short", ours="long", shown=f"{size.short} tokens", higher_is_better=False, note=note
        )
    ]
