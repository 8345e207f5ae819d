"""Hugging Face transformers as a peer.

Options: ``model``, a checkpoint folder; ``threads``; ``dtype`` (bfloat16). Generation works as in the library's
``generate``, without the cost of its token selection: a forward pass over the prompts, then one per further token with
the library's KV cache. Tuned per kind of task, for a mixture of experts: the implementation of the experts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers

from bench.peers.protocol import Answer, Task, prompt, serve, windows


class Transformers:
    """Engine for the tasks in `bench.peers.protocol`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        torch.set_num_threads(int(options.get("threads") or os.cpu_count() or 1))
        self._options = dict(options)
        self._model = transformers.AutoModelForCausalLM.from_pretrained(
            str(options["model"]),
            dtype=getattr(torch, options.get("dtype", "bfloat16")),
            attn_implementation="sdpa",
        ).eval()
        self._mixture = bool(getattr(self._model.config, "num_experts", 0))

    def settings(self, task: Task) -> list[dict[str, Any]]:
        if not self._mixture:
            return [{}]
        # batched_mm copies the experts' weights for every token, which takes too much memory for a long prompt.
        ways = ["grouped_mm", "eager", *(["batched_mm"] if task["task"] == "decode" else [])]
        return [{"experts": way} for way in ways]

    def about(self, experts: str = "") -> Answer:
        return {
            "version": transformers.__version__,
            "torch": torch.__version__,
            "processor": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "options": self._options,
        }

    @torch.inference_mode()
    def decode(self, streams: int, prompt_tokens: int, new_tokens: int, seed: int, experts: str = "") -> Answer:
        self._use(experts)
        tokens, cache = self._next([prompt(seed, stream, prompt_tokens) for stream in range(streams)], None)
        began = time.perf_counter()
        for _ in range(new_tokens - 1):
            tokens, cache = self._next(tokens, cache)
        return {"seconds": time.perf_counter() - began, "tokens": streams * (new_tokens - 1)}

    @torch.inference_mode()
    def prefill(self, tokens: int, seed: int, experts: str = "") -> Answer:
        self._use(experts)
        began = time.perf_counter()
        self._next([prompt(seed, 0, tokens)], None)
        return {"seconds": time.perf_counter() - began}

    @torch.inference_mode()
    def warm_prefix(self, first: int, added: int, seed: int, experts: str = "") -> Answer:
        self._use(experts)
        ids = prompt(seed, 0, first + added)
        began = time.perf_counter()
        _, cache = self._next([ids[:first]], None)
        between = time.perf_counter()
        self._next([ids[first:]], cache)
        cold, warm = between - began, time.perf_counter() - between
        return {"first_seconds": cold, "second_seconds": warm, "seconds": cold + warm}

    @torch.inference_mode()
    def perplexity(self, tokens: Sequence[int], context: int, experts: str = "") -> Answer:
        self._use(experts)
        nll, count, began = 0.0, 0, time.perf_counter()
        for window in windows(tokens, context):
            ids = torch.tensor([list(window)])
            logits = self._model(ids, use_cache=False).logits[0, :-1]
            for rows, targets in zip(torch.split(logits, 128), torch.split(ids[0, 1:], 128), strict=True):
                nll += float(torch.nn.functional.cross_entropy(rows.float(), targets, reduction="sum"))
            count += context - 1
        return {"nll": nll, "count": count, "seconds": time.perf_counter() - began}

    def _next(self, ids: Any, cache: Any) -> tuple[torch.Tensor, Any]:
        """The most probable next tokens (S, 1), and the cache, which then contains the given tokens."""
        answer = self._model(torch.as_tensor(ids), past_key_values=cache, use_cache=True, logits_to_keep=1)
        return answer.logits[:, -1].argmax(-1, keepdim=True), answer.past_key_values

    def _use(self, experts: str) -> None:
        if experts:
            self._model.set_experts_implementation(experts)


if __name__ == "__main__":
    serve(Transformers)
