"""Stand-ins for what the guard is given, for tests and experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from guardrails.interrupt import InterruptSnapshot


@dataclass
class ScriptedJudge:
    """A judge that gives these answers in order, and raises when they run out. Keeps the prompts."""

    answers: Sequence[str]
    prompts: list[str] = field(default_factory=list)

    async def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        if len(self.prompts) > len(self.answers):
            raise RuntimeError("the judge has no more answers")
        return self.answers[len(self.prompts) - 1]


@dataclass
class SteppingClock:
    """Seconds that pass only when told to, and by ``step`` at every look."""

    now: float = 0.0
    step: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@dataclass
class SnapshotSource:
    """An interrupt source that can be cut off."""

    snapshot: InterruptSnapshot
    reachable: bool = True

    def __call__(self) -> InterruptSnapshot:
        if not self.reachable:
            raise ConnectionError("unreachable")
        return self.snapshot
