"""Screens an answer while it is decoded: repetition, calls written as text, then the stream rails."""

from __future__ import annotations

from agent.model_call.markup import Markup
from agent.model_call.repetition import Repeats, Repetition
from flightloop.chat import ChatRequest
from guardrails.holdback import StreamBlocked
from guardrails.types import GuardStream, Ruling


class Screen:
    """Filters one answer: ``push`` the pieces, then ``finish``. Both return text that may be shown.

    Raises:
        Repeats: the answer repeats itself; ``before`` may still be shown. Not raised if JSON was requested.
        CallAsText: see ``agent.model_call.markup``.
        StreamBlocked: see ``guardrails.holdback``.
    """

    def __init__(self, stream: GuardStream, request: ChatRequest) -> None:
        form = request.response_format
        json_wanted = form is not None and form.type != "text"
        self._repetition = None if json_wanted or request.ignore_eos else Repetition()
        offered = [tool.function.name for tool in request.tools or ()]
        self._markup = Markup(offered, json_wanted=json_wanted)
        self._stream = stream

    def push(self, text: str) -> str:
        try:
            if self._repetition is not None:
                self._repetition.push(text)
        except Repeats as cut:
            raise Repeats(self._screened(cut.before) + self.finish(cut=True)) from None
        return self._screened(text)

    def _screened(self, text: str) -> str:
        plain = self._markup.push(text)
        return self._stream.push(plain) if plain else ""

    def finish(self, *, cut: bool) -> str:
        plain = self._markup.finish(cut=cut)
        released = self._stream.push(plain) if plain else ""
        try:
            return released + self._stream.finish()
        except StreamBlocked as blocked:
            raise StreamBlocked(blocked.ruling, released + blocked.before) from None

    def ruling(self) -> Ruling:
        return self._stream.ruling()
