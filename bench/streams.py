"""Completions that are read in the background, with the arrival time of each piece."""

from __future__ import annotations

import time
from threading import Condition, Thread
from typing import Any

from flightloop import Flightloop
from flightloop.errors import FlightloopError, Interrupted
from model.weights.tiny import embedded_tokenizer

SENTENCES = {"type": "array", "items": {"type": "string", "minLength": 40}, "minItems": 200}
STORY: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Write a very long story about a ship that crosses all the oceans."}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "story", "schema": SENTENCES}},
}
"""A request for a long answer: its schema requires 200 sentences."""


class Answer:
    """A streamed completion of the embedded model. ``arrivals``: arrival of each piece, in seconds since the epoch.

    The default policy streams live; a piece contains the tokens collected since the last one.

    Args:
        client: client of the platform.
        model: the model's name.
        max_tokens: limit of the answer.
    """

    def __init__(self, client: Flightloop, model: str, max_tokens: int) -> None:
        self.arrivals: list[float] = []
        self._pieces: list[str] = []
        self.error: FlightloopError | None = None
        self._chunks = client.chat.completions.create(
            model=model,
            max_tokens=max_tokens,
            temperature=0.0,
            stream=True,
            **STORY,
        )
        self._ended = False
        self._news = Condition()
        self._reader = Thread(target=self._read, name="answer", daemon=True)
        self._reader.start()

    def wait_for(self, pieces: int, timeout_s: float) -> None:
        """Waits for this number of pieces, or the answer's end.

        Raises:
            TimeoutError: neither happened in time.
        """
        with self._news:
            if not self._news.wait_for(lambda: self._ended or len(self.arrivals) >= pieces, timeout_s):
                raise TimeoutError(f"{len(self.arrivals)} of {pieces} pieces came within {timeout_s:.0f} s")

    def wait(self, timeout_s: float) -> None:
        """Waits for the answer's end. Raises TimeoutError."""
        self._reader.join(timeout_s)
        if self._reader.is_alive():
            raise TimeoutError(f"the answer did not end within {timeout_s:.0f} s")

    @property
    def interrupted(self) -> bool:
        return isinstance(self.error, Interrupted)

    def after(self, moment: float) -> int:
        """Tokens that arrived after ``moment``, in seconds since the epoch."""
        late = [piece for at, piece in zip(self.arrivals, self._pieces, strict=True) if at > moment]
        return len(embedded_tokenizer().encode("".join(late)))

    def _read(self) -> None:
        try:
            for chunk in self._chunks:
                for choice in chunk.choices:
                    if choice.delta.content:
                        with self._news:
                            self.arrivals.append(time.time())
                            self._pieces.append(choice.delta.content)
                            self._news.notify_all()
        except FlightloopError as error:
            self.error = error
        with self._news:
            self._ended = True
            self._news.notify_all()
