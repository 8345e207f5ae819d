"""A peer without a model, to test the protocol: its figures are computed, not measured.

Options: ``broken``: fail while loading.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench.peers.protocol import Answer, Task, prompt, serve, windows


class Fake:
    """Answers with numbers that depend only on the task."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        print("loading", file=sys.stdout)  # output of libraries on stdout must not be taken for an answer
        if options.get("broken"):
            raise RuntimeError("it is broken")
        self._options = dict(options)

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{"pace": 2.0}, {"pace": 1.0}] if task["task"] == "decode" else [{}]

    def about(self) -> Answer:
        return {"version": "0", "options": self._options}

    def decode(self, streams: int, prompt_tokens: int, new_tokens: int, seed: int, pace: float) -> Answer:
        prompts = [prompt(seed, stream, prompt_tokens) for stream in range(streams)]
        return {"seconds": pace * (new_tokens - 1), "tokens": sum(map(bool, prompts)) * (new_tokens - 1)}

    def prefill(self, tokens: int, seed: int) -> Answer:
        raise ValueError("no prefill here")

    def perplexity(self, tokens: Sequence[int], context: int) -> Answer:
        """Perplexity of a model that gives two tokens the same probability."""
        count = sum(len(window) - 1 for window in windows(tokens, context))
        return {"nll": 0.6931471805599453 * count, "count": count, "seconds": 0.0}

    def warm_prefix(self, first: int, added: int, seed: int) -> Answer:
        os._exit(3)


if __name__ == "__main__":
    serve(Fake)
