"""vLLM's CPU build as a peer.

Options: ``model``, a checkpoint folder; ``threads``; ``dtype`` (bfloat16); ``prefix_caching`` (false); ``streams``
(32), maximum parallel requests; ``positions`` (8192), longest context; ``batch`` (4096), maximum tokens per step;
``kv_gib`` (1), memory of the KV cache: 46,000 tokens of the embedded model per GiB; ``eager`` (false): no compilation;
``grammar``: guidance (default) or xgrammar, the library that enforces schemas.

It runs in one process, since its three processes would compete for cores with its own threads. It preloads the
libraries that vLLM's documentation recommends (Intel's OpenMP from the environment; tcmalloc if installed) and binds
one thread to each core. A first start compiles for a minute; later ones use vLLM's cache.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from ctypes.util import find_library
from pathlib import Path
from typing import Any

from bench.peers.protocol import Answer, Task, prompt, serve, windows


def prepare(options: Mapping[str, Any]) -> None:
    """Restarts this process with settings that must precede the start of Python, unless they are set."""
    threads = int(options.get("threads") or len(os.sched_getaffinity(0)))
    if os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") == "0":
        return
    preloaded = [str(Path(sys.prefix) / "lib" / "libiomp5.so")]
    allocator = find_library("tcmalloc_minimal")
    if allocator:
        preloaded.append(allocator)
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
    os.environ.update(
        VLLM_ENABLE_V1_MULTIPROCESSING="0",
        VLLM_CPU_OMP_THREADS_BIND=cores,
        VLLM_CPU_KVCACHE_SPACE=str(options.get("kv_gib", 1)),
        VLLM_USE_AOT_COMPILE="0",  # this release would recompile at every start, since its cached result fails to load
        VLLM_NO_USAGE_STATS="1",
        LD_PRELOAD=":".join(preloaded),
        OMP_NUM_THREADS=str(threads),
        # What its own worker processes set for this OpenMP.
        KMP_AFFINITY=f"granularity=fine,explicit,proclist=[{cores}]",
        KMP_BLOCKTIME="5",
        KMP_TPAUSE="0",
    )
    os.execv(sys.executable, [sys.executable, "-P", *sys.argv])


class Vllm:
    """Engine for the tasks in `bench.peers.protocol`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        # Imported here, since it reads the environment on import.
        import vllm  # type: ignore[import-not-found, unused-ignore]
        from vllm.sampling_params import StructuredOutputsParams  # type: ignore[import-not-found, unused-ignore]

        self._vllm, self._structured = vllm, StructuredOutputsParams
        self._options = dict(options)
        self._names = itertools.count()
        self._llm = vllm.LLM(
            model=str(options["model"]),
            dtype=options.get("dtype", "bfloat16"),
            max_num_seqs=int(options.get("streams", 32)),
            max_model_len=int(options.get("positions", 8192)),
            max_num_batched_tokens=int(options.get("batch", 4096)),
            enable_prefix_caching=bool(options.get("prefix_caching", False)),
            enforce_eager=bool(options.get("eager", False)),
            # Whitespace between values only costs tokens.
            structured_outputs_config={"backend": options.get("grammar", "guidance"), "disable_any_whitespace": True},
            disable_log_stats=True,
            seed=0,
        )
        self._engine = self._llm.llm_engine

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]  # all of its settings are fixed at loading

    def about(self) -> Answer:
        import torch

        return {
            "version": self._vllm.__version__,
            "torch": torch.__version__,
            "processor": torch.backends.cpu.get_cpu_capability(),
            "openmp_threads": torch.get_num_threads(),
            "platform": type(self._vllm.platforms.current_platform).__name__,
            "preloaded": os.environ.get("LD_PRELOAD", ""),
            "options": self._options,
        }

    def decode(self, streams: int, prompt_tokens: int, new_tokens: int, seed: int) -> Answer:
        for stream in range(streams):
            self._add(prompt(seed, stream, prompt_tokens), max_tokens=new_tokens, ignore_eos=True)
        counts: dict[str, int] = {}
        while len(counts) < streams:
            counts |= self._step()
        before, began = sum(counts.values()), time.perf_counter()
        while self._engine.has_unfinished_requests():
            counts |= self._step()
        return {"seconds": time.perf_counter() - began, "tokens": sum(counts.values()) - before}

    def prefill(self, tokens: int, seed: int) -> Answer:
        return {"seconds": self._first(prompt(seed, 0, tokens))}

    def warm_prefix(self, first: int, added: int, seed: int) -> Answer:
        if not self._options.get("prefix_caching"):
            raise ValueError("it was started without prefix_caching")
        ids = prompt(seed, 0, first + added)
        cold, warm = self._first(ids[:first]), self._first(ids)
        return {"first_seconds": cold, "second_seconds": warm, "seconds": cold + warm}

    def toolcalls(self, requests: Sequence[Mapping[str, Any]]) -> Answer:
        began = time.perf_counter()
        parameters = [
            self._vllm.SamplingParams(
                temperature=0.0,
                max_tokens=request["most"],
                detokenize=False,
                structured_outputs=self._structured(json=request["schema"]),
            )
            for request in requests
        ]
        prompts = [{"prompt_token_ids": list(request["prompt"])} for request in requests]
        answers = self._llm.generate(prompts, parameters, use_tqdm=False)
        ids = [_without_end(answer.outputs[0]) for answer in answers]
        return {"seconds": time.perf_counter() - began, "ids": ids}

    def perplexity(self, tokens: Sequence[int], context: int) -> Answer:
        nll, count, began = 0.0, 0, time.perf_counter()
        parameters = self._vllm.SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        for window in windows(tokens, context):
            ids = list(window)
            [answer] = self._llm.generate([{"prompt_token_ids": ids}], parameters, use_tqdm=False)
            scored = zip(ids[1:], answer.prompt_logprobs[1:], strict=True)
            nll -= sum(found[token].logprob for token, found in scored)
            count += context - 1
        return {"nll": nll, "count": count, "seconds": time.perf_counter() - began}

    def _add(self, ids: Sequence[int], **parameters: Any) -> None:
        given = self._vllm.SamplingParams(temperature=0.0, detokenize=False, **parameters)
        self._engine.add_request(str(next(self._names)), {"prompt_token_ids": list(ids)}, given)

    def _step(self) -> dict[str, int]:
        """Runs a step. Returns the current number of tokens of each request in the step."""
        return {output.request_id: len(output.outputs[0].token_ids) for output in self._engine.step()}

    def _first(self, ids: Sequence[int]) -> float:
        began = time.perf_counter()
        self._add(ids, max_tokens=1, ignore_eos=True)
        while self._engine.has_unfinished_requests():
            self._engine.step()
        return time.perf_counter() - began


def _without_end(output: Any) -> list[int]:
    ids = list(output.token_ids)
    return ids[:-1] if output.finish_reason == "stop" and ids else ids


if __name__ == "__main__":
    prepare(json.loads(sys.argv[1]))
    serve(Vllm)
