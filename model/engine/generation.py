"""One request's answer in the making: its randomness, grammar, text and figures."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from flightloop.errors import FlightloopError
from model.engine.grammar import Matcher
from model.engine.request import EngineOutput, Finish, SampledToken, Summary
from model.engine.sampler import Draw
from model.engine.sequence import Sequence
from model.engine.text import TextStream
from model.engine.vocabulary import Vocabulary


class Generation:
    """What must survive preemption, and so stays out of the scheduler's hands.

    Args:
        sequence: the request as the scheduler knows it.
        vocabulary: of the model.
        max_context: tokens of prompt and answer together.
        now: seconds, when it arrived.
    """

    def __init__(self, sequence: Sequence, vocabulary: Vocabulary, max_context: int, now: float) -> None:
        request = sequence.request
        self.sequence = sequence
        self.arrived = now
        self.admitted: float | None = None
        self.first: float | None = None
        self.error: FlightloopError | None = None
        self._ends = frozenset[int]() if request.sampling.ignore_end else vocabulary.ends
        self._limit = min(request.sampling.max_tokens, max_context - len(request.prompt))
        self._random = Random(request.sampling.seed)
        self._matcher: Matcher | None = (request.grammar and vocabulary.grammars.matcher(request.grammar)) or None
        self._text = TextStream(vocabulary.detokenizer(), request.sampling.stop)
        self._choice = True  # whether the next token is the model's to choose
        self._choices = 0
        self._logprobs = 0.0
        self._entropies = 0.0
        self._max_entropy = 0.0
        self._opening = self._take_dictated()

    def draw(self) -> Draw:
        """How to sample its next token; a grammar that fails sets ``error``."""
        params, allowed = self.sequence.request.sampling, None
        if self._matcher is not None:
            try:
                allowed = self._matcher.allowed()
            except FlightloopError as error:
                self.error = error
        self._choice = allowed is None or int(allowed.sum()) > 1
        if not self._choice:  # no randomness is used up, so that a seed's answer is the same with and without logprobs
            params = replace(params, temperature=0)
        return Draw(params, self._random, allowed)

    def accept(self, sampled: SampledToken, now: float) -> EngineOutput:
        """Takes the token that was drawn; the output is the last one if it has a finish or an error."""
        if self.first is None:
            self.first = now
        self._count(sampled)
        try:
            text, tokens, finish = self._advance(sampled)
        except FlightloopError as error:
            self.error = error
            return self.abort(now)
        if finish is not None:
            text += self._text.finish()
        summary = self.summary(now) if finish else None
        return EngineOutput(self.sequence.request.id, tokens, text, finish, summary=summary)

    def abort(self, now: float, interrupted: bool = False) -> EngineOutput:
        """The last output of a request that ends between two tokens."""
        return EngineOutput(
            self.sequence.request.id,
            text=self._text.finish(),
            finish="stop" if self.error is None else None,
            interrupted=interrupted,
            error=self.error,
            summary=self.summary(now),
        )

    def summary(self, now: float) -> Summary:
        count = self._choices
        return Summary(
            prompt_tokens=len(self.sequence.request.prompt),
            completion_tokens=self.sequence.generated if self.first is not None else 0,
            cached_tokens=min(self.sequence.cached or 0, len(self.sequence.request.prompt)),
            queue_seconds=(now if self.admitted is None else self.admitted) - self.arrived,
            ttft_seconds=None if self.first is None else self.first - self.arrived,
            confidence=math.exp(self._logprobs / count) if count else None,
            mean_entropy=self._entropies / count if count else None,
            max_entropy=self._max_entropy if count else None,
        )

    def _advance(self, sampled: SampledToken) -> tuple[str, tuple[SampledToken, ...], Finish | None]:
        text, self._opening = self._opening, ""
        if sampled.token in self._ends:
            self.sequence.tokens.append(sampled.token)
            return text, (), "stop"
        text += self._take(sampled.token) + self._take_dictated()
        return text, (sampled,), self._finish()

    def _count(self, sampled: SampledToken) -> None:
        if self._choice:
            self._choices += 1
            self._logprobs += sampled.logprob
            self._entropies += sampled.entropy
            self._max_entropy = max(self._max_entropy, sampled.entropy)

    def _take(self, token: int) -> str:
        """Appends a token to the answer; tells the text that it releases."""
        self.sequence.tokens.append(token)
        if self._matcher is not None:
            self._matcher.advance(token)
        return self._text.push(token)

    def _take_dictated(self) -> str:
        """Appends what the grammar dictates: the next step computes it together with the latest token."""
        text = ""
        if self._matcher is not None and not self.sequence.request.sampling.logprobs:
            # One token stays to be drawn, so that there is a step to come.
            room = self._limit - self.sequence.generated - 1
            for token in self._matcher.dictated()[: max(0, room)]:
                if not self._text.stopped:
                    text += self._take(token)
        return text

    def _finish(self) -> Finish | None:
        if self._text.stopped or (self._matcher is not None and self._matcher.complete):
            return "stop"
        return "length" if self.sequence.generated >= self._limit else None
