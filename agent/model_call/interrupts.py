"""Emergency stop for answers of models that don't poll for it themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from flightloop.chat import Tags
from guardrails.interrupt import InterruptSnapshot, InterruptWatch

log = structlog.get_logger(__name__)
_ANSWER_S = 1.0
"""Maximum seconds of the last read, after a long silence of the store, before all answers are stopped."""


@dataclass(eq=False)
class _Answer:
    """An open answer: its tags and the epoch at which it was admitted."""

    tags: Tags
    epoch: int
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class Interrupts:
    """Polls interrupts for all open answers of this process together; does not poll while there are none.

    Args:
        read: returns the current snapshot; raises if the store is unavailable.
        poll_s: seconds between two reads.
        max_silence_s: seconds without a snapshot after which all answers are stopped, because an interrupt could not
            reach them.
    """

    def __init__(self, read: Callable[[], Awaitable[InterruptSnapshot]], poll_s: float, max_silence_s: float) -> None:
        self._read = read
        self._poll_s = poll_s
        self._max_silence_s = max_silence_s
        self._open: set[_Answer] = set()
        self._reading: asyncio.Task[None] | None = None

    async def raised(self, tags: Tags, epoch: int) -> None:
        """Returns once a matching interrupt is raised after ``epoch``, or the store was silent for too long."""
        answer = _Answer(tags, epoch)
        self._open.add(answer)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._reads())
        try:
            await answer.stopped.wait()
        finally:
            self._open.discard(answer)

    async def _reads(self) -> None:
        clock = asyncio.get_running_loop().time
        answered_at = clock()
        while self._open:
            snapshot = await self._snapshot(self._max_silence_s)
            if snapshot is None and clock() - answered_at > self._max_silence_s:
                # This process may have been delayed itself while the store was available.
                snapshot = await self._snapshot(min(self._max_silence_s, _ANSWER_S))
                if snapshot is None:
                    self._stop(lambda _: True)
            if snapshot is not None:
                answered_at = clock()
                self._stop(_stopped_by(snapshot))
            await asyncio.sleep(self._poll_s)

    async def _snapshot(self, limit_s: float) -> InterruptSnapshot | None:
        try:
            async with asyncio.timeout(limit_s):
                return await self._read()
        except Exception:
            log.exception("interrupts cannot be read")
            return None

    def _stop(self, applies: Callable[[_Answer], bool]) -> None:
        for answer in self._open:
            if applies(answer):
                answer.stopped.set()


def _stopped_by(snapshot: InterruptSnapshot) -> Callable[[_Answer], bool]:
    watch = InterruptWatch(lambda: snapshot, max_silence_s=60.0)
    watch.poll()
    return lambda answer: watch.stopped(answer.tags, answer.epoch)
