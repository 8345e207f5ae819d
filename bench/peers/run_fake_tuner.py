"""A trainer without a model, to test the measurements: the time of a token depends only on the options.

It is 1 ms, half of that if ``compiled``, twice that if ``scored`` is ``all``, three times that with ``recompute``.
``trained`` = ``everything`` fails for lack of memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench.peers.protocol import Answer, Task, serve
from bench.peers.training import by_length, read


class FakeTuner:
    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._batches = cycle(by_length(read(Path(options["rows"])), int(options["step_tokens"]), seed=0))
        self._pace = 0.5 if options.get("compiled") else 2.0 if options.get("scored") == "all" else 1.0
        self._pace *= 3.0 if options.get("recompute") else 1.0

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {"version": "0", "trained": 10}

    def train(self, steps: int) -> Answer:
        if self._options.get("trained") == "everything":
            raise MemoryError("no memory for that")
        taken = list(islice(self._batches, steps))
        tokens = sum(len(lesson) for batch in taken for lesson in batch)
        padded = sum(len(batch) * max(map(len, batch)) for batch in taken)
        return {"seconds": 1e-3 * tokens * self._pace, "tokens": tokens, "padded": padded, "loss": 1.0}


if __name__ == "__main__":
    serve(FakeTuner)
