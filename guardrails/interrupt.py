"""Watches the emergency stop: interrupts are latched, and an unreachable source counts as a stop.

An interrupt stops all matching work that was admitted before it, even if it has been cleared since. An
active interrupt stops all matching work. When the source could not be read for ``max_silence_s``,
everything stops, since an interrupt could not get through.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from flightloop.chat import Tags
from flightloop.runs import Interrupt

ANY_TENANT = "*"


@dataclass(frozen=True)
class InterruptSnapshot:
    """State of the interrupts. ``epoch`` only grows; ``interrupts`` are active or were cleared within the last hour."""

    epoch: int
    interrupts: tuple[Interrupt, ...]


def matches(interrupt: Interrupt, tags: Tags) -> bool:
    """Whether an interrupt covers work with these tags. Tenants never stop each other; those of the tenant ``*`` are
    raised by the deployment, for all tenants or for a named one."""
    if interrupt.tenant_id not in (ANY_TENANT, tags.tenant_id):
        return False
    if interrupt.scope == "all":
        return True
    owners = {"agent": tags.agent, "session": tags.session_id, "subject": tags.subject, "run": tags.run_id}
    owners["tenant"] = tags.tenant_id
    owner = owners[interrupt.scope]
    return owner is not None and owner == interrupt.target


class InterruptWatch:
    """Keeps the latest snapshot. Call ``poll`` when a step begins; the other methods never read the source.

    Args:
        read: returns the current snapshot; raises when the source is unreachable.
        max_silence_s: seconds without a snapshot after which everything counts as stopped.
        clock: monotonic seconds.
    """

    def __init__(
        self, read: Callable[[], InterruptSnapshot], max_silence_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._max_silence_s = max_silence_s
        self._clock = clock
        self._snapshot = InterruptSnapshot(0, ())
        self._heard: float | None = None

    def poll(self) -> None:
        """Reads a new snapshot. A failure, or an epoch that decreased, counts as silence."""
        try:
            snapshot = self._read()
        except Exception:
            return
        if snapshot.epoch >= self._snapshot.epoch:
            self._snapshot = snapshot
            self._heard = self._clock()

    def epoch(self) -> int:
        return self._snapshot.epoch

    @property
    def silent(self) -> bool:
        """Whether the source was never read, or not within the last ``max_silence_s``.

        A caller that was itself delayed should poll once more before it relies on this.
        """
        return self._heard is None or self._clock() - self._heard > self._max_silence_s

    def stopped(self, tags: Tags, admitted_epoch: int) -> bool:
        """Whether work that was admitted at ``admitted_epoch`` has to stop."""
        return self.silent or any(
            (interrupt.epoch > admitted_epoch or interrupt.cleared_at is None) and matches(interrupt, tags)
            for interrupt in self._snapshot.interrupts
        )

    def active(self, tags: Tags) -> Interrupt | None:
        """The latest active interrupt that covers these tags."""
        covering = [item for item in self._snapshot.interrupts if item.cleared_at is None and matches(item, tags)]
        return max(covering, key=lambda item: item.epoch, default=None)
