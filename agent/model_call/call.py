"""The guarded model call, used by the steps of runs and by both completion protocols."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.trace import Span

from agent.model_call.interrupts import Interrupts
from agent.model_call.markup import CallAsText
from agent.model_call.masking import Masking, not_hidden
from agent.model_call.reading import Reading
from agent.model_call.repetition import Repeats
from agent.model_call.screen import Screen
from agent.models.chat_model import ChatModel
from flightloop.answer import Answer
from flightloop.chat import MOST_TOKENS, ChatChunk, ChatRequest, ResponseExtension, Usage
from flightloop.errors import FlightloopError, Interrupted, InvalidCall
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.aside import LONG, aside, on_behalf_of
from guardrails.holdback import StreamBlocked
from guardrails.placeholders.register import Register
from guardrails.types import Checked, GuardContext, Guarding, Ruling
from observability.messages import input_messages, output_messages
from observability.tracing import Tracing, add_evaluation, add_usage, traceparent

STOPPED = "the emergency stop ended the answer"
TOKEN_CHARACTERS, MORE_CHARACTERS = 16, 4096
"""Maximum characters of an answer per token, and a fixed allowance. Only long runs of blanks exceed the sum."""
_NEW_CHARACTER_COST = 8
"""Cost of a new character relative to one of the context: rails match at each new one, but only search the context."""


class Owner(Protocol):
    """The run or completion that makes a call: limits it by budgets, charges its usage, and stores its verdicts."""

    async def reserve(self, call: GuardedCall) -> ChatRequest:
        """Returns the request, shortened to what the owner's budgets leave. Raises if nothing is left."""
        ...

    async def settle(self, call: GuardedCall) -> None:
        """Charges the call's usage, however the call ended."""
        ...

    async def judged(self, verdicts: Sequence[Verdict]) -> None:
        """Stores verdicts before the checked texts and calls are used."""
        ...


@dataclass(frozen=True)
class GuardedModel:
    """A chat model with its guards. ``interrupts`` cancels answers of models that don't check for a stop themselves."""

    model: ChatModel
    guard: Guarding
    tracing: Tracing
    interrupts: Interrupts | None = None

    async def judge(self, checked: Checked, parent: str | None = None) -> Ruling:
        """Checks a text or tool call. ``parent``: traceparent of the model call that produced it."""
        began = time.time_ns()
        ruling = await self.guard.check(checked)
        self.tracing.judged(checked.stage.value, self.guard.policy.version, began, ruling.verdicts, parent)
        return ruling


class GuardedCall:
    """One guarded model call: read its ``text``, then ``conclude``.

    Args:
        context: guard context of the texts and calls to check.
        prompt_tokens: estimated length of the prompt.
        before: text that an earlier attempt has shown; the final rails check it together with this call's text.
        held: whether text waits until the call has concluded, whatever the policy's ``streaming``.

    Attributes:
        request: the request, before personal data is hidden in it for the model.
        answer: the answer so far.
        released: text that the stream rails have let through.
        spent: whether the call must be charged, because the model may have begun to compute.
        problem: reason why the answer can't be used, worded for the model's next attempt; None if it can be used.
        repeated: whether the answer was cut because it repeated itself.
    """

    def __init__(
        self,
        guarded: GuardedModel,
        owner: Owner,
        context: GuardContext,
        request: ChatRequest,
        prompt_tokens: int,
        before: str = "",
        held: bool = False,
    ) -> None:
        self._guarded = guarded
        self.held = held
        self._owner = owner
        self._context = context
        self.request = request
        self.prompt_tokens = prompt_tokens
        self.before = before
        self.answer = Answer()
        self.released = ""
        self.spent = False
        self.problem: str | None = None
        self.repeated = False
        self._verdicts: list[Verdict] = []
        self._masking: Masking | None = None

    @property
    def live(self) -> bool:
        """Whether the policy releases text while it is decoded; otherwise, only after the call has concluded."""
        return not self.held and self._guarded.guard.policy.document.streaming == "live"

    async def text(self, *, shown: bool = True) -> AsyncGenerator[str, None]:
        """Yields text to release: an empty piece when the answer begins, and nothing after it unless ``live``.

        Args:
            shown: whether the text is shown to a user, and so has to pass the stream rails.

        Raises:
            StreamBlocked: a rail blocks the text.
            Interrupted: an interrupt ended the answer.
            FlightloopError: an error of the model, or of the owner's budgets.
        """
        try:
            self.request = await self._owner.reserve(self)
            self.spent = True
            extension = self.request.flightloop
            with self._guarded.tracing.chat(self.request.model, parent=extension.traceparent) as span:
                extension = extension.model_copy(update={"traceparent": traceparent() or extension.traceparent})
                self.request = self.request.model_copy(update={"flightloop": extension, "stream": True})
                sent = await self._hidden()
                self._guarded.tracing.content(span, input_messages=lambda: input_messages(sent.messages))
                async with aclosing(self._pieces(sent, shown)) as pieces:
                    async for piece in pieces:
                        yield piece
                self._record_span(span, shown)
        except Interrupted:
            raise  # still spent: the model may have read the prompt before its first token
        except FlightloopError:
            self.spent = self.answer.tokens > 0  # a refused request costs nothing
            raise
        finally:
            await self._owner.settle(self)

    async def conclude(self, calls: Sequence[Checked] = ()) -> tuple[list[Ruling], Ruling | None]:
        """Checks the answer's calls and text. Returns the rulings on the calls and on the text (None without text)."""
        said = self.before + self.released
        final = [Checked(Stage.FINAL, said, self._context)] if said.strip() else []
        parent = self.request.flightloop.traceparent
        rulings = await asyncio.gather(*(self._guarded.judge(checked, parent) for checked in [*calls, *final]))
        await self._owner.judged([*self._verdicts, *(verdict for ruling in rulings for verdict in ruling.verdicts)])
        return list(rulings[: len(calls)]), rulings[-1] if final else None

    async def reasoning(self) -> str:
        """The model's reasoning as the rails of streams and answers let it through; empty if they block it.

        It is released whole: nobody checks it while it is decoded.
        """
        written = self.answer.reasoning
        if not written.strip():
            return ""
        stream = self._guarded.guard.stream(self._context)
        try:
            with on_behalf_of(self._context.tenant_id):
                screened = await aside(
                    _NEW_CHARACTER_COST * len(written), lambda: stream.push(written) + stream.finish()
                )
        except StreamBlocked as blocked:
            await self._owner.judged(blocked.ruling.verdicts)
            return ""
        await self._owner.judged(stream.ruling().verdicts)
        checked = Checked(Stage.FINAL, screened, self._context)
        ruling = await self._guarded.judge(checked, self.request.flightloop.traceparent)
        await self._owner.judged(ruling.verdicts)
        return ruling.text if ruling.action in (Action.ALLOW, Action.REDACT) else ""

    async def _hidden(self) -> ChatRequest:
        """The request as the model gets it: with placeholders where the policy hides personal data.

        Raises:
            GuardrailBlocked: the data could not be hidden, so nothing may be sent.
        """
        hidden = self._guarded.guard.policy.document.placeholders
        if hidden is None:
            return self.request
        self._masking = Masking(self._context.register or Register(hidden), self.request)
        characters = sum(len(message.text) for message in self.request.messages)
        try:
            with on_behalf_of(self._context.tenant_id):
                return await aside(characters, self._masking.request, self.request)
        except FlightloopError:
            raise
        except Exception as error:
            raise not_hidden(error) from error

    async def _pieces(self, sent: ChatRequest, shown: bool) -> AsyncGenerator[str, None]:
        screen = Screen(self._guarded.guard.stream(self._context), self.request) if shown else None
        try:
            async with aclosing(self._screened(sent, screen)) as pieces:
                async for piece in pieces:
                    yield piece
        except CallAsText as written:
            self.problem = str(written)
        except Repeats as cut:
            if self._released(cut.before):
                yield cut.before
            self.problem, self.repeated = str(cut), True
            self.answer.cut(self.prompt_tokens)
        except StreamBlocked as blocked:
            if self._released(blocked.before):
                yield blocked.before
            await self._owner.judged(blocked.ruling.verdicts)
            raise

    async def _screened(self, sent: ChatRequest, screen: Screen | None) -> AsyncGenerator[str, None]:
        searched, most, begun = self._context.characters, self._most_characters(), False
        async with aclosing(self._chunks(sent)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                piece = self.answer.add(self._masking.chunk(chunk) if self._masking else chunk)
                if not begun:
                    begun = True
                    yield ""
                over = self.answer.characters - most
                if screen is not None and piece:
                    for part in _parts(piece if over <= 0 else piece[: max(0, len(piece) - over)]):
                        released = await self._push(screen, part, searched)
                        if released and self._released(released):
                            yield released
                if over > 0:
                    self.answer.cut(self.prompt_tokens)
                    break
        self._check_end(chunks)
        if screen is not None:
            # A stop text ends an answer in the middle, too.
            cut = self.answer.finish_reason == "length" or bool(self.request.stop)
            with on_behalf_of(self._context.tenant_id):
                rest = await aside(searched + self.answer.characters, screen.finish, cut=cut)
            self._verdicts += screen.ruling().verdicts
            if self._released(rest):
                yield rest

    async def _push(self, screen: Screen, part: str, searched: int) -> str:
        characters = searched + _NEW_CHARACTER_COST * len(part)
        if characters < LONG:
            return screen.push(part)
        with on_behalf_of(self._context.tenant_id):
            return await aside(characters, screen.push, part)

    def _most_characters(self) -> int:
        """Maximum characters that the answer's tokens can produce; longer answers of a faulty server are cut."""
        most = self.request.token_limit or self._guarded.model.capabilities.context_length or MOST_TOKENS
        return TOKEN_CHARACTERS * most + MORE_CHARACTERS

    def _check_end(self, chunks: AsyncIterator[ChatChunk]) -> None:
        if (isinstance(chunks, Reading) and chunks.stopped) or (self.answer.extension or _NOTHING).interrupted:
            raise Interrupted(STOPPED)
        self.answer.drop_cut_calls()
        if self._masking:
            self._masking.finish(self.answer)

    def _chunks(self, sent: ChatRequest) -> AsyncIterator[ChatChunk]:
        chunks, interrupts = self._guarded.model.stream(sent), self._guarded.interrupts
        if interrupts is None or self._guarded.model.capabilities.interrupts:
            return chunks
        extension = sent.flightloop
        reading = Reading(chunks)
        reading.end_with(interrupts.raised(extension.tags, extension.epoch or 0))
        return reading

    def _released(self, text: str) -> bool:
        """Adds text to ``released``; returns whether it may be sent now."""
        self.released += text
        return bool(text) and self.live

    def _record_span(self, span: Span, shown: bool) -> None:
        answer = self.answer
        used, told = answer.usage or Usage(), answer.extension or _NOTHING
        add_usage(span, self.request.model, used.prompt_tokens, used.completion_tokens, answer.finish_reason)
        text = self.released if shown else answer.text
        self._guarded.tracing.content(
            span, output_messages=lambda: output_messages(text, answer.calls, answer.finish_reason)
        )
        if told.confidence is not None:
            add_evaluation(span, "confidence", told.confidence)


_NOTHING = ResponseExtension()


def _parts(piece: str) -> list[str]:
    """Splits a long piece, so that the event loop serves other requests in between."""
    return [piece] if len(piece) <= LONG else [piece[at : at + LONG] for at in range(0, len(piece), LONG)]


def invalid_call(problem: str) -> InvalidCall:
    """Error for the caller, with the reason: the part of ``GuardedCall.problem`` before the semicolon."""
    wrong = problem.partition(";")[0]
    return InvalidCall(f"the model gave no usable answer: {wrong}. Rephrase the request or use a larger model.")
