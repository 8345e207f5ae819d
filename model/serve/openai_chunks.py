"""Converts the engine's outputs to OpenAI's chunks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal

from flightloop.chat import (
    ChatChunk,
    ChoiceLogprobs,
    ChunkChoice,
    Delta,
    FinishReason,
    PromptTokensDetails,
    ResponseExtension,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    Usage,
)
from model.chat.reasoning import ReasoningReader
from model.engine.request import EngineOutput, SampledToken, Summary
from model.engine.vocabulary import Vocabulary
from model.serve.openai_calls import CallReader


class ChunkWriter:
    """Writes the chunks of one answer.

    Args:
        completion_id, model: repeated in every chunk.
        vocabulary: converts the tokens in log-probabilities to text.
        calls: whether the answer may be tool calls.
        held: whether a grammar guarantees the calls' layout.
        logprobs: whether to include log-probabilities.
    """

    def __init__(
        self, completion_id: str, model: str, vocabulary: Vocabulary, *, calls: bool, held: bool, logprobs: bool
    ) -> None:
        self._id = completion_id
        self._model = model
        self._created = int(time.time())
        self._vocabulary = vocabulary
        self._calls = CallReader(vocabulary.chat.calls, held=held) if calls else None
        chat = vocabulary.chat
        self._reasoning = ReasoningReader(begun=chat.begins_reasoning, held=held) if chat.reasons else None
        self._logprobs = logprobs
        self._role: Literal["assistant"] | None = "assistant"

    def write(self, output: EngineOutput) -> list[ChatChunk]:
        """The chunks of an output; none if it contains nothing to send yet."""
        reasoning, text = self._split(output)
        calls = list[ToolCallDelta]()
        if self._calls is not None:
            text, calls = self._calls.push(text)
            if output.last:
                text += self._calls.finish()
        logprobs = self._logprob_part(output.tokens)
        chunks = []
        if reasoning or text or calls or logprobs or (output.tokens and self._role):
            delta = Delta(
                role=self._role,
                content=text or None,
                reasoning_content=reasoning or None,
                tool_calls=calls or None,
            )
            self._role = None
            chunks.append(self._chunk(ChunkChoice(delta=delta, logprobs=logprobs)))
        if output.finish is not None:
            chunks.append(self._last(output))
        return chunks

    def _split(self, output: EngineOutput) -> tuple[str, str]:
        """The output's reasoning and text."""
        if self._reasoning is None:
            return "", output.text
        reasoning, text = self._reasoning.push(output.text)
        if output.last:
            more, rest = self._reasoning.finish()
            reasoning, text = reasoning + more, text + rest
        return reasoning, text

    def _last(self, output: EngineOutput) -> ChatChunk:
        finish: FinishReason | None = output.finish
        if finish == "stop" and not output.interrupted and self._calls is not None and self._calls.complete:
            finish = "tool_calls"
        choice = ChunkChoice(delta=Delta(role=self._role), finish_reason=finish)
        chunk = self._chunk(choice)
        if output.summary is not None:
            chunk.usage = _usage(output.summary)
            sure = output.summary.likelihood if finish == "tool_calls" else output.summary.confidence
            chunk.flightloop = _extension(output.summary, sure, output.interrupted)
        return chunk

    def _chunk(self, choice: ChunkChoice) -> ChatChunk:
        return ChatChunk(id=self._id, created=self._created, model=self._model, choices=[choice])

    def _logprob_part(self, tokens: Iterable[SampledToken]) -> ChoiceLogprobs | None:
        if not self._logprobs:
            return None
        content = [
            TokenLogprob(
                **self._token(each.token, each.logprob),
                top_logprobs=[TopLogprob(**self._token(token, logprob)) for token, logprob in each.top],
            )
            for each in tokens
        ]
        return ChoiceLogprobs(content=content) if content else None

    def _token(self, token: int, logprob: float) -> dict[str, object]:
        piece = self._vocabulary.piece(token)
        # JSON has no infinity; OpenAI uses -9999 for impossible tokens.
        return {"token": piece.decode(errors="replace"), "logprob": max(logprob, -9999.0), "bytes": list(piece)}


def _usage(summary: Summary) -> Usage:
    return Usage(
        prompt_tokens=summary.prompt_tokens,
        completion_tokens=summary.completion_tokens,
        total_tokens=summary.prompt_tokens + summary.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=summary.cached_tokens),
    )


def _extension(summary: Summary, confidence: float | None, interrupted: bool) -> ResponseExtension:
    """``confidence``: geometric mean per token for a text; joint probability of all tokens for calls."""
    return ResponseExtension(
        confidence=confidence,
        mean_entropy=summary.mean_entropy,
        max_entropy=summary.max_entropy,
        queue_seconds=summary.queue_seconds,
        ttft_seconds=summary.ttft_seconds,
        interrupted=interrupted,
    )
