"""State of a request's answer: randomness, grammar, drafts, text and statistics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from flightloop.errors import FlightloopError
from model.engine.drafter import Drafter
from model.engine.grammar import Matcher
from model.engine.masks import Words
from model.engine.request import EngineOutput, Finish, SampledToken, Summary
from model.engine.sampler import Draw
from model.engine.sequence import Sequence as RequestSequence
from model.engine.sequence import common_prefix
from model.engine.text import TextStream
from model.engine.vocabulary import Vocabulary


class Generation:
    """State of one answer. It survives preemption, so it isn't part of the scheduler's state.

    Args:
        sequence: the request's sequence in the scheduler.
        vocabulary: the model's vocabulary.
        max_context: limit of prompt and answer together, in tokens.
        now: time of arrival in seconds.
    """

    def __init__(self, sequence: RequestSequence, vocabulary: Vocabulary, max_context: int, now: float) -> None:
        request = sequence.request
        self.sequence = sequence
        self.arrived = now
        self.admitted: float | None = None
        self.first: float | None = None
        self.error: FlightloopError | None = None
        self._ends = frozenset[int]() if request.sampling.ignore_end else vocabulary.ends
        self._limit = min(request.sampling.max_tokens, max_context - len(request.prompt))
        self._counts: Counter[int] = Counter()
        self._draw = Draw(request.sampling, Random(request.sampling.seed), self._counts)
        plain = replace(request.sampling, temperature=0, frequency_penalty=0, presence_penalty=0)
        self._greedy = Draw(plain, self._draw.random)
        self._may_call = request.sampling.greedy_calls
        self._openings = vocabulary.chat.calls.openings
        self._said = ""  # text that is held until it is clear whether it is a call
        self._dictates = not request.sampling.logprobs
        self._drafter = Drafter()
        self._drafted = self._accepted = 0
        self._matcher: Matcher | None = (request.grammar and vocabulary.grammars.matcher(request.grammar)) or None
        self._text = TextStream(vocabulary.detokenizer(), request.sampling.stop)
        self._choices = 0
        self._logprobs = 0.0
        self._entropies = 0.0
        self._max_entropy = 0.0
        self._opening = self._take_dictated()

    @property
    def draw(self) -> Draw:
        return self._greedy if self._may_call else self._draw

    @property
    def constrained(self) -> bool:
        return self._matcher is not None

    def guess(self, most: int) -> list[int]:
        """Draft of the next tokens, at most ``most``. Only greedy answers have drafts."""
        most = min(most, self._limit - self.sequence.generated - 1)
        if most <= 0 or self.draw.params.temperature > 0 or self.draw.params.penalised:
            return []
        drafts = self._drafter.propose(self.sequence.tokens, most)
        for place, token in enumerate(drafts):
            if token in self._ends:
                del drafts[place:]
                break
        if self._matcher is not None and drafts:
            drafts = self._matcher.admitted(drafts, dictate=self._dictates)
        return drafts[:most]

    def constrain(self, drafts: Sequence[int], words_RW: Words) -> None:
        """Writes the masks of the next token and of the token after each draft. Sets ``error`` if the grammar fails."""
        assert self._matcher is not None
        try:
            self._matcher.fill(drafts, words_RW)
        except FlightloopError as error:
            self.error = error
            words_RW.fill(2**32 - 1)  # the rows are sampled with the others, but not used

    def accept(self, sampled: Sequence[SampledToken], drafts: Sequence[int], now: float) -> EngineOutput:
        """Appends sampled tokens: the next one and, as long as drafts are accepted, those after it.

        Args:
            sampled: sampled tokens for the next position and for the position after each draft.
            drafts: draft tokens of the step.
            now: seconds.

        Returns:
            The step's output. It is the request's last one if it has a finish or an error.
        """
        if self.first is None:
            self.first = now
        before = len(self.sequence.tokens)
        try:
            text, tokens, finish = self._take_all(sampled, drafts)
        except FlightloopError as error:
            self.error = error
            return self.abort(now)
        if drafts:
            self._learn(drafts, before)
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
            likelihood=math.exp(self._logprobs) if count else None,
            mean_entropy=self._entropies / count if count else None,
            max_entropy=self._max_entropy if count else None,
            drafted_tokens=self._drafted,
            accepted_tokens=self._accepted,
        )

    def _take_all(
        self, sampled: Sequence[SampledToken], drafts: Sequence[int]
    ) -> tuple[str, tuple[SampledToken, ...], Finish | None]:
        tokens = self.sequence.tokens
        text, self._opening = self._opening, ""
        taken: list[SampledToken] = []
        finish: Finish | None = None
        row, before = 0, len(tokens)
        while finish is None:
            token = sampled[row]
            self._count(token)
            if token.token in self._ends:
                tokens.append(token.token)
                finish = "stop"
                break
            taken.append(token)
            text += self._take(token.token) + self._take_dictated()
            finish = self._finish()
            if row == len(drafts):
                break
            # The next row is valid only if the drafts predicted all tokens appended since the current one.
            came, row = tokens[before + row :], len(tokens) - before
            if row > len(drafts) or came != list(drafts[row - len(came) : row]):
                break
        return text, tuple(taken), finish

    def _learn(self, drafts: Sequence[int], before: int) -> None:
        accepted = common_prefix(drafts, self.sequence.tokens[before : before + len(drafts)])
        self._drafter.learn(len(drafts), accepted, len(self.sequence.tokens))
        self._drafted += len(drafts)
        self._accepted += accepted

    def _count(self, sampled: SampledToken) -> None:
        if sampled.free:
            self._choices += 1
            self._logprobs += sampled.logprob
            self._entropies += sampled.entropy
            self._max_entropy = max(self._max_entropy, sampled.entropy)

    def _take(self, token: int) -> str:
        """Appends a token to the answer and returns the text that it releases."""
        self.sequence.tokens.append(token)
        if self._draw.params.penalised:
            self._counts[token] += 1
        if self._matcher is not None:
            self._matcher.advance(token)
        text = self._text.push(token)
        if self._may_call and len(self._said) < max(map(len, self._openings)):
            self._said += text
            said = self._said
            self._may_call = any(said.startswith(each) or each.startswith(said) for each in self._openings)
        return text

    def _take_dictated(self) -> str:
        """Appends the tokens that the grammar forces; the next step computes them together with the latest token."""
        text = ""
        if self._matcher is not None and self._dictates:
            # At least one token is left to sample, so that there is a next step.
            room = self._limit - self.sequence.generated - 1
            for token in self._matcher.dictated()[: max(0, room)]:
                if not self._text.stopped:
                    text += self._take(token)
        return text

    def _finish(self) -> Finish | None:
        if self._text.stopped or (self._matcher is not None and self._matcher.complete):
            return "stop"
        return "length" if self.sequence.generated >= self._limit else None
