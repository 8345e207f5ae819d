"""Fakes of the guard's dependencies, for tests and experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from guardrails.interrupt import InterruptSnapshot


@dataclass
class ScriptedJudge:
    """Judge that gives these answers in order and records the prompts. Raises when the answers run out."""

    answers: Sequence[str]
    prompts: list[str] = field(default_factory=list)

    async def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        if len(self.prompts) > len(self.answers):
            raise RuntimeError("the judge has no more answers")
        return self.answers[len(self.prompts) - 1]


@dataclass
class SteppingClock:
    """Clock that advances by ``step`` seconds at each reading, and otherwise only when ``now`` is set."""

    now: float = 0.0
    step: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@dataclass
class SnapshotSource:
    """Interrupt source that can be made unreachable."""

    snapshot: InterruptSnapshot
    reachable: bool = True

    def __call__(self) -> InterruptSnapshot:
        if not self.reachable:
            raise ConnectionError("unreachable")
        return self.snapshot
