"""Calls that count towards limits over time, in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from agent.store.backend import CountedCall


class MemoryCountedCalls:
    """The part of ``agent.store.backend.Transaction`` that stores calls that count towards limits."""

    def __init__(self) -> None:
        super().__init__()
        self._counted: list[CountedCall] = []

    def add_counted(self, counted: Sequence[CountedCall]) -> None:
        self._counted += counted

    def sum_counted(self, tenant_id: str, names: Collection[str], since: float | None, besides: tuple[str, str]) -> int:
        return sum(
            one.amount
            for one in self._counted
            if one.tenant_id == tenant_id and one.name in names and (one.run_id, one.call_id) != besides
            if since is None or one.at > since
        )

    def is_counted(self, run_id: str, call_id: str) -> bool:
        return any((one.run_id, one.call_id) == (run_id, call_id) for one in self._counted)

    def drop_counted(self, run_id: str, call_id: str) -> None:
        self._counted = [one for one in self._counted if (one.run_id, one.call_id) != (run_id, call_id)]

    def prune_counted(self, now: float, most: int) -> None:
        past = sorted((one for one in self._counted if one.until is not None and one.until <= now), key=_until)[:most]
        self._counted = [one for one in self._counted if one not in past]


def _until(one: CountedCall) -> float:
    assert one.until is not None
    return one.until
