"""What an answer's text passes while it is decoded: first whether it is a call, then the rails of the stream."""

from __future__ import annotations

from agent.model_call.markup import Markup
from flightloop.chat import ChatRequest
from guardrails.holdback import StreamBlocked
from guardrails.types import GuardStream, Ruling


class Screen:
    """``push`` pieces, then ``finish``; each returns text that may be shown.

    Raises:
        CallAsText: see ``agent.model_call.markup``.
        StreamBlocked: see ``guardrails.holdback``.
    """

    def __init__(self, stream: GuardStream, request: ChatRequest) -> None:
        form = request.response_format
        self._markup = Markup(json_wanted=form is not None and form.type != "text")
        self._stream = stream

    def push(self, text: str) -> str:
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
