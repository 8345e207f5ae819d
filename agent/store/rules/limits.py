"""Checks and counts calls that a policy limits over time, in the transaction that journals their intents.

A call is counted once, whatever happens: by its run and id. It stops counting when its result says that it failed for
sure. A call without a result counts, and one that may have had its effect. So does a failed one of a tool that only
reads: the failure tells something.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from agent.run.limits import CallOwner, CallShares
from agent.store.backend import CountedCall, Transaction
from flightloop.events import RunCreated, RunEvent, ToolIntent, ToolResult
from flightloop.runs import Run
from guardrails.limit_rules import DAY, LONGEST_DAYS
from guardrails.limit_share import LimitShare, from_millionths, millionths

PRUNED = 64
"""Counted calls of past windows that a transaction removes; bounds how long other writes wait."""
_DAYS_KEPT = timedelta(days=2)
"""How long calls of a calendar day are kept; other nodes' clocks may be behind."""
_KEPT = timedelta(days=LONGEST_DAYS)
"""How long calls of a window are kept: a sum is shared by policies with other windows, also by later ones."""


@dataclass(frozen=True)
class Admitted:
    """What may be written. ``refused``: ids of calls without room in a limit, whose intents and sub-runs are left
    out."""

    events: Sequence[RunEvent]
    children: Sequence[RunCreated]
    counted: Sequence[CountedCall] = ()
    refused: frozenset[str] = frozenset()


def used(tx: Transaction, owner: CallOwner, call_id: str, shares: Iterable[LimitShare], now: datetime) -> list[Decimal]:
    """For each share, the sum of the other calls."""
    sums = _Sums(tx, owner, now)
    return [from_millionths(sums.of(share, call_id)) for share in shares]


def admit(
    tx: Transaction,
    run: Run,
    events: Sequence[RunEvent],
    children: Sequence[RunCreated],
    shares: CallShares,
    now: datetime,
) -> Admitted:
    """Checks the limits of the calls that these events begin. Writes nothing."""
    if not shares:
        return Admitted(events, children)
    begun = [event.call_id for event in events if isinstance(event, ToolIntent)]
    counted, refused = room(tx, run, begun, shares, now)
    return Admitted(
        events=[event for event in events if not (isinstance(event, ToolIntent) and event.call_id in refused)],
        children=[child for child in children if not (child.parent and child.parent.call_id in refused)],
        counted=counted,
        refused=refused,
    )


def room(
    tx: Transaction, owner: CallOwner, call_ids: Iterable[str], shares: CallShares, now: datetime
) -> tuple[list[CountedCall], frozenset[str]]:
    """Checks the limits of calls, one after the other; each sees the ones before it. Writes nothing.

    Returns:
        What to count, and the ids of the calls that a limit has no room for. Calls that are counted already are in
        neither.
    """
    by_call: dict[str, list[LimitShare]] = defaultdict(list)
    for call_id, share in shares:
        by_call[call_id].append(share)
    sums, counted, refused = _Sums(tx, owner, now), list[CountedCall](), set[str]()
    for call_id in call_ids:
        if call_id not in by_call or tx.is_counted(owner.id, call_id):
            continue
        if any(sums.is_full(share, call_id, counted) for share in by_call[call_id]):
            refused.add(call_id)
        else:
            counted += sums.counted(by_call[call_id], call_id)
    return counted, frozenset(refused)


def keep(tx: Transaction, counted: Sequence[CountedCall], now: datetime) -> None:
    """Counts calls, and forgets some of past windows."""
    if counted:
        tx.prune_counted(now.timestamp(), PRUNED)
        tx.add_counted(counted)


def follow(tx: Transaction, run: Run, events: Sequence[RunEvent]) -> None:
    """Gives back what calls have taken that failed for sure."""
    for event in events:
        if isinstance(event, ToolResult) and not (event.ok or event.uncertain or event.only_read):
            tx.drop_counted(run.id, event.call_id)


class _Sums:
    """The sums that calls of an owner add to, at one time."""

    def __init__(self, tx: Transaction, owner: CallOwner, now: datetime) -> None:
        self._tx = tx
        self._owner = owner
        self._now = now
        self._session_id = tx.root_session(owner.tenant_id, owner.session_id or "")
        self._day = now.astimezone(UTC).date().isoformat()

    def of(self, share: LimitShare, call_id: str) -> int:
        """Millionths that the other calls have used of a limit."""
        since = None if share.seconds is None else self._now.timestamp() - share.seconds
        names = share.names(self._session_id, self._day)
        return self._tx.sum_counted(self._owner.tenant_id, names, since, (self._owner.id, call_id))

    def is_full(self, share: LimitShare, call_id: str, counted: Sequence[CountedCall]) -> bool:
        """Whether a limit has no room for a call besides those that are counted, in the store or in ``counted``."""
        names = share.names(self._session_id, self._day)
        taken = self.of(share, call_id) + sum(one.amount for one in counted if one.name in names)
        return taken + millionths(share.amount) > millionths(share.bound)

    def counted(self, shares: Iterable[LimitShare], call_id: str) -> Iterable[CountedCall]:
        """A call's entries: one per sum, since limits with other maxima or windows share it."""
        owner, at = self._owner, self._now.timestamp()
        found: dict[str, CountedCall] = {}
        for share in shares:
            name, amount, until = share.name(self._session_id, self._day), millionths(share.amount), self._until(share)
            if (other := found.get(name)) is not None:
                amount = max(amount, other.amount)
                until = None if until is None or other.until is None else max(until, other.until)
            found[name] = CountedCall(owner.tenant_id, name, owner.id, call_id, at, until, amount)
        return found.values()

    def _until(self, share: LimitShare) -> float | None:
        """When a call of this share counts in no limit any more; None: never."""
        if any(key == DAY for key, _ in share.per):
            return (self._now + _DAYS_KEPT).timestamp()
        return None if share.seconds is None else (self._now + _KEPT).timestamp()
