"""Persons who decide an approval: whether two are different ones, and whether one may approve.

A person is the holder of a key, or logged in with OIDC. The checks run in the transaction that stores the decision.
"""

from __future__ import annotations

from collections.abc import Sequence

import regex

from agent.run.acts import OWN_KEY, PERSON_ID
from agent.store.backend import Transaction
from flightloop.acts import Actor, ActorKind
from flightloop.approvals import Approval, PersonDecision
from flightloop.errors import Conflict, Forbidden
from flightloop.runs import Run
from guardrails.text.normalise import normalise

NOBODY_ELSE = "started the run, and no other key of the tenant may approve"
"""Note of an approval by the person who started the run."""
LONGEST_LINE = 64
"""Forks of forks whose starters are looked up."""
_INVISIBLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}\p{Cf}\u2800]")
"""All that leaves no mark: texts need selectors and joiners, names of keys do not."""
_KIND = regex.compile(r"^(key|person):")
MOST_DECIDERS = 1000
"""Keys in which another person is looked for. If all of so many are the starter's, another one is assumed."""


def is_same(one: Actor, other: Actor) -> bool:
    """Whether two actors count as one person: they use the same key, or names that read alike."""
    return (one.id != "" and one.id == other.id) or _plain(one.name) == _plain(other.name)


def counted(tx: Transaction, tenant_id: str, approval: Approval) -> list[PersonDecision]:
    """Decisions so far, without those of keys that have been revoked since."""
    return [one for one in approval.decisions if _is_valid(tx, tenant_id, one.key_id)]


def admit(tx: Transaction, tenant_id: str, approval: Approval, person: Actor, run: Run, others: Sequence[Actor]) -> str:
    """Checks that a person may approve. Returns a note if they may only because nobody else can; usually empty.

    Args:
        others: holders of keys that are not in the store and may decide, too.

    Raises:
        Conflict: the person has approved already.
        Forbidden: the person started the run, or the key was revoked.
    """
    check_key(tx, tenant_id, person)
    earlier = [one for one in counted(tx, tenant_id, approval) if one.decision == "approve"]
    if any(is_same(person, _actor(one)) for one in earlier):
        raise Conflict(
            f"{person.name} has already approved {approval.id}: {len(earlier)} of {approval.needed} persons have."
            " Another person must approve, with another key of another name"
        )
    if not approval.not_starter or not _is_starter(tx, run, person):
        return ""
    # Where several must approve, others exist by the time the last one does, so there is no exception.
    if approval.needed > 1 or _has_other(tx, tenant_id, run, others):
        raise Forbidden(
            f"{person.name} started run {run.id}: the policy wants another person to approve it. They may deny it"
        )
    return NOBODY_ELSE


def check_key(tx: Transaction, tenant_id: str, person: Actor) -> None:
    """Raises Forbidden if the person's key was revoked after the request was authenticated."""
    if person.kind is ActorKind.KEY and not _is_valid(tx, tenant_id, person.id):
        raise Forbidden(f"the key of {person.name} was revoked")


def _is_starter(tx: Transaction, run: Run, person: Actor) -> bool:
    """Whether a person started the run. Raises Forbidden if it is not recorded who did."""
    return any(is_same(person, one) for one in _starters(tx, run))


def _starters(tx: Transaction, run: Run) -> list[Actor]:
    """Who started the run or its root run, and the runs from which that one was forked.

    Raises Forbidden if one of them is not recorded, or if the line of forks is too long.
    """
    found: list[Actor | None] = []
    run_id: str | None = run.parent.callers[0].run_id if run.parent else run.id
    while run_id is not None and len(found) < LONGEST_LINE:
        row = tx.run(run_id)
        if row is None:
            break
        found.append(row.state.run.started_by)
        origin = row.state.run.origin
        run_id = origin.run_id if origin is not None else None
    known = [one for one in found if one is not None]
    if run_id is not None or len(known) < len(found):
        raise Forbidden(
            f"it is not recorded who started run {run.id}, and the policy wants another person to approve: deny the"
            " call, and start the run again"
        )
    return known


def _has_other(tx: Transaction, tenant_id: str, run: Run, others: Sequence[Actor]) -> bool:
    """Whether a person who did not start the run may approve."""
    starters = _starters(tx, run)
    stored = tx.deciders(tenant_id, MOST_DECIDERS)
    holders = [Actor(kind=ActorKind.KEY, id=key.id, name=f"key:{key.name}") for key in stored]
    if any(not any(is_same(one, starter) for starter in starters) for one in (*others, *holders)):
        return True
    return len(stored) == MOST_DECIDERS


def _is_valid(tx: Transaction, tenant_id: str, key_id: str) -> bool:
    # No key, one that was configured at start, or a person, whom no key in the store represents.
    if key_id in ("", OWN_KEY) or key_id.startswith(PERSON_ID):
        return True
    key = tx.key(tenant_id, key_id)
    return key is not None and key.revoked_at is None


def _actor(decision: PersonDecision) -> Actor:
    return Actor(kind=ActorKind.KEY, id=decision.key_id, name=decision.by)


def _plain(name: str) -> str:
    """A name without what a reader hardly sees: case, width, blanks and invisible characters. Without the kind, too:
    the key that a person has besides a login is theirs if it has their name."""
    return "".join(normalise(_INVISIBLE.sub("", _KIND.sub("", name))).casefold().split())
