"""Hidden states of texts, each read in the place that it has in a conversation.

The states of a text depend on what stands before it, so a fixed frame stands there: a system message and, for a tool's
result, the user's request and the call. Only the layers below the wanted ones run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from flightloop.chat import ChatMessage, ChatRequest, FunctionCall, ToolCall
from model.config import ModelConfig
from model.engine.local import local_runner
from model.engine.runner import Runner, SequenceStep, StatesRunner, StepBatch
from model.engine.sequence import common_prefix
from model.weights.loaded import LoadedModel

Place = Literal["user", "result", "claim"]
"""Where a text stands: it is a user's message, a tool's result, or a claim behind the records that it is held against.
"""
PLACES: tuple[Place, ...] = ("user", "result", "claim")
CHUNK = 256
"""Tokens of a text that are read together; a longer text is read in chunks, each in the frame."""
OVERLAP = 32
"""Tokens that a chunk shares with the one before it."""
BATCH = 4
"""Chunks that one step reads."""
SYSTEM = "You are the assistant of a company. You act for your user only."
REQUEST = "Please look it up."
RECORDS = "Records:\n"
"""Stands before the evidence of a claim."""
_CALL = ToolCall(id="call_1", function=FunctionCall(name="look_up", arguments="{}"))


def frame(loaded: LoadedModel, place: Place) -> tuple[int, ...]:
    """Tokens before a text in this place, as the model's chat format writes them."""
    one, other = (_encoded(loaded, place, text) for text in ("A", "B"))
    return tuple(one[: common_prefix(one, other)])


def _encoded(loaded: LoadedModel, place: Place, text: str) -> list[int]:
    messages = [ChatMessage(role="system", content=SYSTEM)]
    if place != "result":
        before = RECORDS if place == "claim" else ""
        messages.append(ChatMessage(role="user", content=f"{before}{text}"))
    else:
        messages.append(ChatMessage(role="user", content=REQUEST))
        messages.append(ChatMessage(role="assistant", content=None, tool_calls=[_CALL]))
        messages.append(ChatMessage(role="tool", content=text, tool_call_id=_CALL.id))
    return loaded.chat.encode(ChatRequest(model=loaded.name, messages=messages), loaded.config.max_positions)


def chunks(tokens: Sequence[int]) -> list[tuple[int, ...]]:
    """A text's chunks; one for an empty text."""
    starts = range(0, max(1, len(tokens) - OVERLAP), CHUNK - OVERLAP)
    return [tuple(tokens[start : start + CHUNK]) for start in starts]


class _Runner(Runner, StatesRunner, Protocol):
    """What runs a model in this process."""


class StatesReader:
    """Reads texts in one place, with a KV cache of its own.

    Args:
        loaded: the model, whose weights are shared with the engine.
        config: the model's configuration; its threads read.
        place: where the texts stand.
        layers: numbers of the layers whose input is read, in ascending order.
        longest: tokens of the longest chunk.
    """

    def __init__(
        self, loaded: LoadedModel, config: ModelConfig, place: Place, layers: Sequence[int], longest: int = CHUNK
    ) -> None:
        size, before = config.block_size, frame(loaded, place)
        self._before, self._layers, self._size = before, tuple(layers), size
        self._shared = len(before) // size  # blocks of the frame that all chunks share
        self._each, self._longest = -(-(len(before) % size + longest) // size), longest
        blocks = self._shared + BATCH * self._each
        own = replace(config, kv_blocks=blocks, max_context=blocks * size, slots=BATCH, attention_window=0)
        self._runner: _Runner = local_runner(loaded, own)  # type: ignore[assignment]
        if self._shared:  # all layers run, for `logits`
            step = SequenceStep(before[: self._shared * size], 0, tuple(range(self._shared)), 1)
            self._runner.run(StepBatch((step,)))

    def read(self, texts: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """Hidden states of chunks of at most ``longest`` tokens: states_LTD of each, in float32."""
        rest = len(self._before) % self._size
        for start in range(0, len(texts), BATCH):
            batch = self._batch(texts[start : start + BATCH], 0)
            states_LTD = self._runner.states(batch, self._layers)
            each = torch.split(states_LTD, [len(step.tokens) for step in batch.sequences], 1)
            yield from (one[:, rest:] for one in each)

    def logits(self, texts: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """Logits (V,) of the token behind each chunk, from all layers."""
        for start in range(0, len(texts), BATCH):
            yield from self._runner.run(self._batch(texts[start : start + BATCH], 1))

    def _batch(self, texts: Sequence[Sequence[int]], scored: int) -> StepBatch:
        first = self._shared * self._size
        steps = []
        for slot, text in enumerate(texts):
            assert len(text) <= self._longest, f"a chunk has at most {self._longest} tokens, not {len(text)}"
            own = self._shared + slot * self._each
            blocks = (*range(self._shared), *range(own, own + self._each))
            steps.append(SequenceStep((*self._before[first:], *text), first, blocks, scored))
        return StepBatch(tuple(steps))
