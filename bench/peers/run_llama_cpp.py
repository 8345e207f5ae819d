"""llama.cpp as a peer, through llama-cpp-python's bindings of its C interface.

Options: ``model``, a GGUF file; ``threads``. Streams are sequences of one batch, as in llama.cpp's server. Tuned per
kind of task: flash attention on or off, one KV buffer for all streams or one each, tokens of a micro-batch. A grammar
first checks the most probable token, then the 64 most probable, and only then all tokens: this gives the same greedy
answer as llama.cpp's sampler chain, and is much cheaper.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import llama_cpp as lib  # type: ignore[import-not-found, unused-ignore]
import numpy as np
from llama_cpp import llama_grammar
from numpy.typing import NDArray

from bench.peers.protocol import Answer, Task, prompt, serve, windows

_BATCH = 2048
_CANDIDATES = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_LIKELY = 64

Entry = tuple[int, int, int, bool]
"""Token, position, stream, and whether its logits are needed."""


class Context:
    """A llama_context: the KV cache of ``streams`` sequences of at most ``positions`` tokens."""

    def __init__(self, model: Any, threads: int, streams: int, positions: int, settings: Mapping[str, Any]) -> None:
        parameters = lib.llama_context_default_params()
        parameters.n_ctx = streams * (-(-positions // 256) * 256)
        parameters.n_batch = _BATCH
        parameters.n_ubatch = settings["ubatch"]
        parameters.n_seq_max = streams
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.flash_attn_type = int(settings["flash"])
        parameters.kv_unified = settings["unified"]
        parameters.no_perf = True
        self._context = lib.llama_init_from_model(model, parameters)
        if not self._context:
            raise RuntimeError("llama.cpp did not create a context")
        self._memory = lib.llama_get_memory(self._context)
        self._batch = lib.llama_batch_init(_BATCH, 0, 1)
        self._vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))

    def close(self) -> None:
        lib.llama_batch_free(self._batch)
        lib.llama_free(self._context)

    def clear(self) -> None:
        lib.llama_memory_clear(self._memory, False)

    def copy(self, source: int, streams: int) -> None:
        """Copies the content of the first sequence to all others."""
        for stream in range(streams):
            if stream != source:
                lib.llama_memory_seq_cp(self._memory, source, stream, -1, -1)

    def run(self, entries: Sequence[Entry]) -> NDArray[np.float32]:
        """(wanted, V) logits, valid until the next call if the entries fit into one batch."""
        parts = [self._run(entries[begin : begin + _BATCH]) for begin in range(0, len(entries), _BATCH)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, entries: Sequence[Entry]) -> NDArray[np.float32]:
        batch, wanted = self._batch, 0
        batch.n_tokens = len(entries)
        for index, (token, position, stream, scored) in enumerate(entries):
            batch.token[index], batch.pos[index] = token, position
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, stream
            batch.logits[index] = scored
            wanted += scored
        status = lib.llama_decode(self._context, batch)
        if status:
            raise RuntimeError(f"llama_decode returned {status}")
        lib.llama_synchronize(self._context)
        if not wanted:
            return np.empty((0, self._vocabulary), np.float32)
        logits = np.ctypeslib.as_array(lib.llama_get_logits(self._context), (wanted, self._vocabulary))
        return logits if len(entries) < _BATCH else logits.copy()


class LlamaCpp:
    """Engine for the tasks in `bench.peers.protocol`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        lib.llama_backend_init()
        self._threads = int(options.get("threads") or os.cpu_count() or 1)
        self._path = str(options["model"])
        self._model = lib.llama_model_load_from_file(self._path.encode(), lib.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp can't load {self._path}")
        self._vocabulary = lib.llama_model_get_vocab(self._model)
        self._kept: tuple[Any, Context] | None = None

    def settings(self, task: Task) -> list[dict[str, Any]]:
        ways = [{"flash": flash, "unified": False, "ubatch": 512} for flash in (False, True)]
        if task["task"] in ("prefill", "perplexity", "warm_prefix"):
            return ways + [{**way, "ubatch": 2048} for way in ways]
        several = task["task"] == "toolcalls" or task.get("streams", 1) > 1
        return ways + [{**way, "unified": True} for way in ways] if several else ways

    def about(self, **settings: Any) -> Answer:
        return {
            "version": lib.__version__,
            "system": lib.llama_print_system_info().decode(),
            "model": self._path,
            "threads": self._threads,
        }

    def decode(self, streams: int, prompt_tokens: int, new_tokens: int, seed: int, **settings: Any) -> Answer:
        context = self._context(streams, prompt_tokens + new_tokens, settings)
        last = prompt_tokens - 1
        logits = context.run(
            [
                (token, position, stream, position == last)
                for stream in range(streams)
                for position, token in enumerate(prompt(seed, stream, prompt_tokens))
            ]
        )
        tokens = logits.argmax(1)
        began = time.perf_counter()
        for position in range(prompt_tokens, prompt_tokens + new_tokens - 1):
            tokens = context.run([(int(token), position, stream, True) for stream, token in enumerate(tokens)]).argmax(
                1
            )
        return {"seconds": time.perf_counter() - began, "tokens": streams * (new_tokens - 1)}

    def prefill(self, tokens: int, seed: int, **settings: Any) -> Answer:
        context = self._context(1, tokens, settings)
        return {"seconds": _first(context, prompt(seed, 0, tokens), 0)}

    def warm_prefix(self, first: int, added: int, seed: int, **settings: Any) -> Answer:
        context = self._context(1, first + added, settings)
        ids = prompt(seed, 0, first + added)
        cold = _first(context, ids[:first], 0)
        warm = _first(context, ids[first:], first)
        return {"first_seconds": cold, "second_seconds": warm, "seconds": cold + warm}

    def perplexity(self, tokens: Sequence[int], context: int, **settings: Any) -> Answer:
        nll, count, began = 0.0, 0, time.perf_counter()
        for window in windows(tokens, context):
            cache = self._context(1, context, settings)
            logits = cache.run([(token, position, 0, position < context - 1) for position, token in enumerate(window)])
            nll += _nll(logits, np.asarray(window[1:]))
            count += context - 1
        return {"nll": nll, "count": count, "seconds": time.perf_counter() - began}

    def toolcalls(self, requests: Sequence[Mapping[str, Any]], **settings: Any) -> Answer:
        longest = max(len(request["prompt"]) + request["most"] for request in requests)
        context = self._context(len(requests), longest, settings)
        began = time.perf_counter()
        calls = [Call(self._vocabulary, stream, request) for stream, request in enumerate(requests)]
        try:
            _answer_all(context, calls)
            return {"seconds": time.perf_counter() - began, "ids": [call.ids for call in calls]}
        finally:
            for call in calls:
                call.close()

    def _context(self, streams: int, positions: int, settings: Mapping[str, Any]) -> Context:
        """An empty context. The last one is reused, as creating one takes a while."""
        key = (streams, positions, tuple(sorted(settings.items())))
        if self._kept is None or self._kept[0] != key:
            if self._kept is not None:
                self._kept[1].close()
                self._kept = None
            self._kept = (key, Context(self._model, self._threads, streams, positions, settings))
        self._kept[1].clear()
        return self._kept[1]


class Call:
    """A request whose answer is constrained by its schema."""

    def __init__(self, vocabulary: Any, stream: int, request: Mapping[str, Any]) -> None:
        self.stream, self.prompt, self.most = stream, list(request["prompt"]), int(request["most"])
        self.ids: list[int] = []
        self.ended = False
        self._vocabulary = vocabulary
        grammar = llama_grammar.json_schema_to_gbnf(json.dumps(request["schema"]))
        self._grammar = lib.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")
        if not self._grammar:
            raise RuntimeError("llama.cpp rejects the grammar of a schema")

    def close(self) -> None:
        lib.llama_sampler_free(self._grammar)

    def take(self, logits: NDArray[np.float32]) -> None:
        """Appends the most probable token that the grammar accepts."""
        token = self._allowed(logits, np.array([logits.argmax()]))
        if token is None:
            token = self._allowed(logits, np.argpartition(logits, -_LIKELY)[-_LIKELY:])
        if token is None:
            token = self._allowed(logits, np.arange(len(logits)))
        if token is None or lib.llama_vocab_is_eog(self._vocabulary, token):
            self.ended = True
            return
        lib.llama_sampler_accept(self._grammar, token)
        self.ids.append(token)
        self.ended = len(self.ids) >= self.most

    def _allowed(self, logits: NDArray[np.float32], ids: NDArray[Any]) -> int | None:
        candidates = np.zeros(len(ids), _CANDIDATES)
        candidates["id"], candidates["logit"] = ids, logits[ids]
        array = lib.llama_token_data_array(
            data=candidates.ctypes.data_as(lib.llama_token_data_p), size=len(ids), selected=-1, sorted=False
        )
        lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
        best = int(candidates["logit"][: array.size].argmax())
        return int(candidates["id"][best]) if np.isfinite(candidates["logit"][best]) else None


def _answer_all(context: Context, calls: Sequence[Call]) -> None:
    # The common prefix is computed once; at least the last token of each prompt is left.
    columns = zip(*(call.prompt[:-1] for call in calls), strict=False)
    shared = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
    if shared:
        context.run([(token, position, 0, False) for position, token in enumerate(calls[0].prompt[:shared])])
        context.copy(0, len(calls))
    logits = context.run(
        [
            (call.prompt[position], position, call.stream, position == len(call.prompt) - 1)
            for call in calls
            for position in range(shared, len(call.prompt))
        ]
    )
    live = list(calls)
    while True:
        for call, row in zip(live, logits, strict=True):
            call.take(row)
        live = [call for call in live if not call.ended]
        if not live:
            return
        logits = context.run([(c.ids[-1], len(c.prompt) + len(c.ids) - 1, c.stream, True) for c in live])


def _first(context: Context, ids: Sequence[int], begin: int) -> float:
    """Seconds to process these tokens, until the next token is known."""
    began = time.perf_counter()
    last = len(ids) - 1
    logits = context.run([(token, begin + index, 0, index == last) for index, token in enumerate(ids)])
    logits[-1].argmax()
    return time.perf_counter() - began


def _nll(logits: NDArray[np.float32], targets: NDArray[Any]) -> float:
    """Negative log-likelihood, summed, in nats. Computed in slices that fit into the processor's cache."""
    total = 0.0
    for begin in range(0, len(targets), 64):
        rows = logits[begin : begin + 64]
        most = rows.max(1, keepdims=True)
        sums = np.log(np.exp(rows - most).sum(1, dtype=np.float64)) + most[:, 0]
        total += float((sums - rows[np.arange(len(rows)), targets[begin : begin + 64]]).sum())
    return total


if __name__ == "__main__":
    serve(LlamaCpp)
