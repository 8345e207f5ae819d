"""Our engine as a subject of measurements. It performs the same tasks as its peers (`bench.peers.protocol`).

Everything goes through ``add`` and ``step``, so the figures include scheduling, sampling and detokenisation.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Literal

import torch

from bench.peers.protocol import Answer, prompt
from flightloop.chat import ChatRequest
from model.config import ModelConfig
from model.engine.engine import Engine
from model.engine.fakes import ManualStop
from model.engine.request import EngineOutput, EngineRequest, SamplingParams
from model.serve.openai_request import engine_request
from model.weights.load import load_model
from model.weights.loaded import LoadedModel
from observability.metrics import Metrics

BLOCK = 16


class Subject:
    """One engine with one model.

    Args:
        loaded: the model.
        slots: parallel streams.
        max_context: tokens per stream; the KV cache holds a quarter of this for each slot, at least one whole stream.
        threads: threads of matrix products.
        drafts: use draft tokens; results then depend on repetitions in the answers.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        slots: int = 32,
        max_context: int = 2048,
        threads: int | Literal["auto"] = "auto",
        drafts: bool = False,
    ) -> None:
        self.loaded = loaded
        config = ModelConfig(
            slots=slots,
            block_size=BLOCK,
            kv_blocks=max(max_context // BLOCK + 1, slots * max_context // BLOCK // 4),
            max_context=max_context,
            threads=threads,
            draft_tokens=ModelConfig.draft_tokens if drafts else 0,
        )
        self.engine = Engine(loaded, config, ManualStop(), Metrics())
        self._names = map(str, count())
        self._torch_threads = torch.get_num_threads()  # set for the whole process when the engine was created

    @property
    def format(self) -> str:
        """Format of the weights."""
        return self.loaded.form.dtype

    def ask(self, task: Mapping[str, Any]) -> Answer:
        """Performs a task of the peers' protocol and answers like a peer. Subjects of several formats may alternate."""
        torch.set_num_threads(self._torch_threads)
        method: Callable[..., Answer] = getattr(self, str(task["task"]))
        return method(**{key: value for key, value in task.items() if key != "task"})

    def decode(self, streams: int, prompt_tokens: int, new_tokens: int, seed: int) -> Answer:
        """Decodes greedily, timed from the moment when every stream has its first token. The answer also has the
        median ``step_seconds``."""
        for stream in range(streams):
            self._add(prompt(seed, stream, prompt_tokens), new_tokens)
        waiting, tokens, steps = streams, 0, list[float]()
        began = 0.0
        seen: set[str] = set()
        while self.engine.has_work:
            start = time.perf_counter()
            outputs = self.engine.step()
            now = time.perf_counter()
            if waiting:
                seen |= {output.request_id for output in outputs if output.tokens}
                waiting = streams - len(seen)
                began = now
            else:
                tokens += sum(len(output.tokens) for output in outputs)
                steps.append(now - start)
        return {
            "seconds": time.perf_counter() - began,
            "tokens": tokens,
            "step_seconds": statistics.median(steps),
        }

    def prefill(self, tokens: int, seed: int) -> Answer:
        """Time to the first token of a new prompt."""
        return {"seconds": self._first_token(prompt(seed, 0, tokens))[0]}

    def warm_prefix(self, first: int, added: int, seed: int) -> Answer:
        """Times to the first token of a prompt and of its continuation, which finds ``cached`` tokens in the cache."""
        tokens = prompt(seed, 0, first + added)
        cold, _ = self._first_token(tokens[:first])
        warm, cached = self._first_token(tokens)
        return {"first_seconds": cold, "second_seconds": warm, "cached": cached}

    def calls(self, requests: Sequence[ChatRequest]) -> Answer:
        """Answers all requests at once. Returns seconds, steps, texts, and tokens, with those forced by the grammar.

        The time includes rendering prompts and looking up grammars, but not compiling them, which happens only the
        first time.
        """
        began = time.perf_counter()
        for request in requests:
            self.engine.add(
                engine_request(
                    request, next(self._names), request.model, self.engine.vocabulary, self.engine.max_context
                )
            )
        return self._drained(began)

    def free(self, prompts: Sequence[Sequence[int]], most: int) -> Answer:
        """Like `calls`, without a grammar and without end tokens."""
        began = time.perf_counter()
        for tokens in prompts:
            self._add(tokens, most)
        return self._drained(began)

    def _drained(self, began: float) -> Answer:
        texts: dict[str, str] = {}
        tokens, steps = 0, 0
        first = None
        while self.engine.has_work:
            steps += 1
            for output in self.engine.step():
                texts[output.request_id] = texts.get(output.request_id, "") + output.text
                tokens += _completed(output)
            if first is None and texts:
                first = time.perf_counter()
        end = time.perf_counter()
        return {
            "seconds": end - began,
            "decode_seconds": end - (first or began),
            "texts": list(texts.values()),
            "tokens": tokens,
            "steps": steps,
        }

    def _first_token(self, tokens: Sequence[int]) -> tuple[float, int]:
        """Seconds to the first token of an answer, and how many prompt tokens were cached."""
        began, cached = time.perf_counter(), 0
        self._add(tokens, 1)
        while self.engine.has_work:
            for output in self.engine.step():
                cached = output.summary.cached_tokens if output.summary is not None else cached
        return time.perf_counter() - began, cached

    def _add(self, tokens: Sequence[int], most: int) -> None:
        sampling = SamplingParams(max_tokens=most, temperature=0, ignore_end=True)
        self.engine.add(EngineRequest(next(self._names), tuple(tokens), sampling))


def _completed(output: EngineOutput) -> int:
    if output.error is not None:
        raise output.error
    return output.summary.completion_tokens if output.summary is not None else 0


def standalone(fields: Mapping[str, Any]) -> Subject:
    """Our engine, created as by a replica. ``fields``: fields of a `ModelConfig`, such as model, threads and dtype."""
    config = ModelConfig(**fields)
    torch.set_num_threads(1)
    loaded = load_model(config)
    return Subject(loaded, slots=config.slots, max_context=config.max_context, threads=config.threads)
