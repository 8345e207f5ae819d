"""Stand-ins for what the engine is given, for tests and trials."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from flightloop.chat import Tags
from model.engine.runner import Runner, StepBatch


class ManualStop:
    """An emergency stop worked by hand; it never rings by itself."""

    def __init__(self) -> None:
        self.polls = 0
        self._epoch = 0
        self._raised: list[tuple[int, str | None]] = []
        self._active: set[str | None] = set()

    def pull(self, session_id: str | None = None) -> None:
        """Stops a session, or everything."""
        self._epoch += 1
        self._raised.append((self._epoch, session_id))
        self._active.add(session_id)

    def clear(self) -> None:
        """Lets new requests in; what was admitted before stays stopped."""
        self._active.clear()

    def poll(self) -> None:
        self.polls += 1

    def epoch(self) -> int:
        return self._epoch

    def stopped(self, tags: Tags, admitted_epoch: int) -> bool:
        later = {session for epoch, session in self._raised if epoch > admitted_epoch}
        return any(session is None or session == tags.session_id for session in later | self._active)


class BreakingRunner:
    """Runs like another runner until ``broken`` is set, then raises."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.broken = False

    def run(self, batch: StepBatch) -> Tensor:
        if self.broken:
            raise ConnectionError("the shard is gone")
        return self._runner.run(batch)

    def expert_tokens(self) -> Sequence[int]:
        return self._runner.expert_tokens()
