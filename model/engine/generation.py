"""One request's answer in the making: its randomness, grammar, text and figures."""

from __future__ import annotations

import math
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
        self._ends = vocabulary.ends
        self._limit = min(request.sampling.max_tokens, max_context - len(request.prompt))
        self._random = Random(request.sampling.seed)
        self._matcher: Matcher | None = (request.grammar and vocabulary.grammars.matcher(request.grammar)) or None
        self._text = TextStream(vocabulary.detokenizer(), request.sampling.stop)
        self._logprobs = 0.0
        self._entropies = 0.0
        self._max_entropy = 0.0

    def draw(self) -> Draw:
        """How to sample its next token; a grammar that fails sets ``error``."""
        allowed = None
        if self._matcher is not None:
            try:
                allowed = self._matcher.allowed()
            except FlightloopError as error:
                self.error = error
        return Draw(self.sequence.request.sampling, self._random, allowed)

    def accept(self, sampled: SampledToken, now: float) -> EngineOutput:
        """Takes the token that was drawn; the output has a finish if it was the last."""
        if self.first is None:
            self.first = now
        self.sequence.tokens.append(sampled.token)
        self._logprobs += sampled.logprob
        self._entropies += sampled.entropy
        self._max_entropy = max(self._max_entropy, sampled.entropy)
        if sampled.token in self._ends:
            return self._output((), self._text.finish(), "stop", now)
        text = self._text.push(sampled.token)
        finish = self._finish(sampled.token)
        if finish is not None:
            text += self._text.finish()
        return self._output((sampled,), text, finish, now)

    def abort(self, now: float, interrupted: bool = False) -> EngineOutput:
        """The last output of a request that ends between two tokens."""
        finish: Finish | None = "stop" if self.error is None else None
        output = self._output((), self._text.finish(), finish, now)
        return EngineOutput(
            output.request_id, text=output.text, finish=finish, interrupted=interrupted, error=self.error,
            summary=self.summary(now),
        )  # fmt: skip

    def summary(self, now: float) -> Summary:
        count = self.sequence.generated
        return Summary(
            prompt_tokens=len(self.sequence.request.prompt),
            completion_tokens=count,
            cached_tokens=self.sequence.cached or 0,
            queue_seconds=(now if self.admitted is None else self.admitted) - self.arrived,
            ttft_seconds=None if self.first is None else self.first - self.arrived,
            confidence=math.exp(self._logprobs / count) if count else None,
            mean_entropy=self._entropies / count if count else None,
            max_entropy=self._max_entropy if count else None,
        )

    def _finish(self, token: int) -> Finish | None:
        if self._text.stopped:
            return "stop"
        if self._matcher is not None:
            self._matcher.advance(token)
            if self._matcher.complete:
                return "stop"
        return "length" if self.sequence.generated >= self._limit else None

    def _output(self, tokens: tuple[SampledToken, ...], text: str, finish: Finish | None, now: float) -> EngineOutput:
        summary = self.summary(now) if finish else None
        return EngineOutput(self.sequence.request.id, tokens, text, finish, summary=summary)
