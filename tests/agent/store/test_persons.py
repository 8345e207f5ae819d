"""Who decides an approval: several persons, and not the one who started the run. On every kind of store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

import pytest

from agent.run.journal import Journal
from agent.store import memory_journal
from flightloop.acts import Act, Actor, ActorKind
from flightloop.approvals import Approval
from flightloop.errors import Conflict, Forbidden, NotFound
from flightloop.events import (
    ApprovalDecided,
    ApprovalGiven,
    ApprovalRequested,
    CallsDecided,
    ModelCall,
    RunCreated,
    ToolIntent,
)
from flightloop.keys import ApiKey, Role
from flightloop.runs import Budget, Caller, Origin, Parent, RunStatus
from flightloop.subject import SpeaksFor, Subject
from tests.agent.conftest import Clock

OWN = Actor(kind=ActorKind.KEY, id="own", name="key:default")
"""Holder of the key that the deployment was started with; not in the store."""


async def person(journal: Any, name: str, role: Role = Role.APPROVER, key_id: str = "", **fields: Any) -> Actor:
    """A new key's holder. The name need not be unique."""
    key_id = key_id or f"key_{name}"
    given = {"tenant_id": "default", "created_at": journal._clock()} | fields
    await journal.keys.add(ApiKey(id=key_id, name=name, role=role, **given), f"digest of {given['tenant_id']} {key_id}")
    return Actor(kind=ActorKind.KEY, id=key_id, name=f"key:{name}")


async def asking(journal: Journal, clock: Clock, starter: Actor | None, name: str = "apr", **fields: Any) -> str:
    """A run that waits for one approval; ``fields`` are those of the request."""
    first = RunCreated(agent="a", session_id="s", input="hi", budget=Budget(), **fields.pop("created", {}))
    run = (await journal.create(first, actor=starter)).run
    claim = await journal.claim("w", 30)
    assert claim is not None
    request = ApprovalRequested(
        approval_id=name,
        call_id=f"call_{name}",
        tool="refund",
        arguments={"amount": 5},
        reason="it is a lot",
        args_sha256="a",
        policy_sha256="p",
        expires_at=clock() + timedelta(seconds=600),
        **fields,
    )
    await journal.append(run.id, [request], claim.lease)
    await journal.release(claim.lease, RunStatus.WAITING_APPROVAL)
    return run.id


async def decide(
    journal: Journal,
    who: Actor,
    decision: Literal["approve", "deny"] = "approve",
    name: str = "apr",
    others: Sequence[Actor] = (),
) -> Approval:
    return await journal.decide("default", name, decision, who.name, f"says {who.name}", who, others)


async def test_two_persons_approve_a_call(journal: Journal, clock: Clock) -> None:
    ann, bob = [await person(journal, name) for name in ("ann", "bob")]
    run_id = await asking(journal, clock, OWN, needed=2)
    first = await decide(journal, ann)
    assert (first.status, first.given, first.needed, first.decided_by) == ("pending", 1, 2, None)
    assert first.progress == "2 persons must approve; 1 of 2 have: key:ann"
    assert (await journal.get("default", run_id)).status is RunStatus.WAITING_APPROVAL
    assert (await journal.approvals("default", status="pending")).data == [first]
    second = await decide(journal, bob)
    assert (second.status, second.decided_by) == ("approved", "key:bob")
    assert [(one.by, one.key_id, one.decision) for one in second.decisions] == [
        ("key:ann", "key_ann", "approve"),
        ("key:bob", "key_bob", "approve"),
    ]
    assert (await journal.get("default", run_id)).status is RunStatus.QUEUED
    events = await journal.events("default", run_id)
    (given,) = [event for event in events if isinstance(event, ApprovalGiven)]
    assert (given.by, given.reason, given.given, given.needed) == ("key:ann", "says key:ann", 1, 2)
    (decided,) = [event for event in events if isinstance(event, ApprovalDecided)]
    assert (decided.decision, decided.by, decided.decisions) == ("approve", "key:bob", second.decisions)
    records = await journal.audit("default", act=Act.APPROVAL)
    assert [(one.actor.id, one.details["decision"], one.details["given"]) for one in records if one.actor] == [
        ("key_ann", "given", 1),
        ("key_bob", "approved", 2),
    ]
    assert {one.details["args_sha256"] for one in records} == {"a"}


@pytest.mark.parametrize("first", [None, "approve"])
async def test_one_person_who_denies_ends_it(journal: Journal, clock: Clock, first: Literal["approve"] | None) -> None:
    ann, bob = [await person(journal, name) for name in ("ann", "bob")]
    run_id = await asking(journal, clock, OWN, needed=2)
    if first:
        await decide(journal, ann, first)
    denied = await decide(journal, bob, "deny")
    assert (denied.status, denied.decisions[-1].decision) == ("denied", "deny")
    assert (await journal.get("default", run_id)).status is RunStatus.QUEUED
    with pytest.raises(Conflict, match="already denied"):
        await decide(journal, ann)


async def test_who_has_approved_may_still_deny(journal: Journal, clock: Clock) -> None:
    ann = await person(journal, "ann")
    await asking(journal, clock, OWN, needed=2)
    await decide(journal, ann)
    assert [one.decision for one in (await decide(journal, ann, "deny")).decisions] == ["approve", "deny"]


@pytest.mark.parametrize("name", ["ann", "Ann", " ann ", "\uff41nn", "an\u200bn", "ann\ufe0f", "a\u034fnn"])
async def test_the_same_person_counts_once(journal: Journal, clock: Clock, name: str) -> None:
    """With the same key, or with another one whose name reads the same."""
    ann = await person(journal, "ann")
    again = await person(journal, name, key_id="key_2")
    await asking(journal, clock, OWN, needed=2)
    await decide(journal, ann)
    for who in (ann, again):
        with pytest.raises(Conflict, match="1 of 2 persons have"):
            await decide(journal, who)
    assert (await journal.approvals("default")).data[0].given == 1


async def test_the_deployments_own_key_is_another_person_only_by_another_name(journal: Journal, clock: Clock) -> None:
    namesake, ann = await person(journal, "default"), await person(journal, "ann")
    await asking(journal, clock, None, needed=2)
    await decide(journal, OWN)
    with pytest.raises(Conflict):
        await decide(journal, namesake)
    assert (await decide(journal, ann)).status == "approved"


async def test_the_approval_of_a_revoked_key_no_longer_counts(journal: Any, clock: Clock) -> None:
    ann, bob, eve = [await person(journal, name) for name in ("ann", "bob", "eve")]
    await asking(journal, clock, OWN, needed=2)
    await decide(journal, ann)
    await journal.keys.revoke("default", ann.id)
    with pytest.raises(Forbidden, match="revoked"):
        await decide(journal, ann)
    second = await decide(journal, bob)
    assert (second.status, [one.by for one in second.decisions]) == ("pending", ["key:bob"])
    assert (await decide(journal, eve)).status == "approved"


async def test_a_revoked_key_that_made_room_for_another_decides_nothing(journal: Any, clock: Clock) -> None:
    """The oldest revoked key is removed where a tenant has too many; its holder may be in a request still."""
    ann = await person(journal, "ann")
    await asking(journal, clock, OWN)
    await journal.keys.revoke("default", ann.id)
    assert await journal.keys._backend.write(lambda tx: tx.drop_revoked_key("default"))
    for decision in ("approve", "deny"):
        with pytest.raises(Forbidden, match="revoked"):
            await decide(journal, ann, decision)


async def test_who_started_the_run_does_not_approve_it(journal: Journal, clock: Clock) -> None:
    ann, bob = await person(journal, "ann", Role.OPERATOR), await person(journal, "bob")
    namesake = await person(journal, "ANN", key_id="key_3")
    run_id = await asking(journal, clock, ann, not_starter=True)
    assert (await journal.get("default", run_id)).started_by == ann
    (pending,) = await journal.run_approvals(run_id)
    assert pending.progress == "a person must approve who did not start the run (key:ann)"
    for who in (ann, namesake):
        with pytest.raises(Forbidden, match="started run"):
            await decide(journal, who)
    assert (await journal.approvals("default", status="pending")).data[0].decisions == []
    assert (await decide(journal, bob)).status == "approved"


async def test_who_started_the_run_may_deny(journal: Journal, clock: Clock) -> None:
    ann = await person(journal, "ann", Role.OPERATOR)
    await person(journal, "bob")
    await asking(journal, clock, ann, not_starter=True)
    assert (await decide(journal, ann, "deny")).status == "denied"


async def test_where_nobody_else_may_approve_the_starter_may_and_it_is_recorded(journal: Any, clock: Clock) -> None:
    """Keys that are revoked, of viewers, bound to an end user, or of another tenant are not somebody else."""
    ann = await person(journal, "ann", Role.OPERATOR)
    await journal.keys.revoke("default", (await person(journal, "gone")).id)
    await person(journal, "looker", Role.VIEWER)
    await person(journal, "phone", Role.OPERATOR, speaks_for=SpeaksFor.ONE, subject=Subject(id="17"))
    await person(journal, "far", tenant_id="other")
    await person(journal, "Ann", key_id="key_4")
    run_id = await asking(journal, clock, ann, not_starter=True)
    with pytest.raises(Forbidden, match="started run"):  # the deployment's own key is somebody else
        await decide(journal, ann, others=[OWN])
    approved = await decide(journal, ann)
    told = "started the run, and no other key of the tenant may approve"
    assert (approved.status, approved.decisions[0].note) == ("approved", told)
    (decided,) = [one for one in await journal.events("default", run_id) if isinstance(one, ApprovalDecided)]
    assert decided.decisions[0].note == told
    (record,) = await journal.audit("default", act=Act.APPROVAL)
    assert (record.details["note"], record.details["not_starter"]) == (told, True)


async def test_where_two_must_approve_the_starter_is_no_exception(journal: Journal, clock: Clock) -> None:
    await asking(journal, clock, OWN, not_starter=True, needed=2)
    with pytest.raises(Forbidden, match="started run"):
        await decide(journal, OWN, others=[OWN])


@pytest.mark.parametrize("role", [Role.APPROVER, Role.OPERATOR, Role.ADMIN])
async def test_every_role_that_decides_is_somebody_else(journal: Journal, clock: Clock, role: Role) -> None:
    await person(journal, "bob", role)
    await asking(journal, clock, OWN, not_starter=True)
    with pytest.raises(Forbidden, match="started run"):
        await decide(journal, OWN, others=[OWN])


async def test_the_deployments_owner_alone_decides(journal: Journal, clock: Clock) -> None:
    await asking(journal, clock, OWN, not_starter=True)
    assert (await decide(journal, OWN, others=[OWN])).decisions[0].note


async def test_two_others_approve_where_both_rules_hold(journal: Journal, clock: Clock) -> None:
    ann, bob, eve = [await person(journal, name) for name in ("ann", "bob", "eve")]
    await asking(journal, clock, ann, not_starter=True, needed=2)
    first = await decide(journal, bob)
    assert first.progress == "2 persons must approve who did not start the run (key:ann); 1 of 2 have: key:bob"
    with pytest.raises(Forbidden):
        await decide(journal, ann)
    assert (await decide(journal, eve)).status == "approved"


async def test_who_started_the_run_is_known_in_sub_runs_and_forks(journal: Journal, clock: Clock) -> None:
    ann, bob = await person(journal, "ann", Role.OPERATOR), await person(journal, "bob", Role.OPERATOR)
    eve = await person(journal, "eve")
    root = (await journal.create(RunCreated(agent="a", session_id="r", input="hi", budget=Budget()), actor=ann)).run
    claim = await journal.claim("w", 30)
    assert claim is not None
    intent = ToolIntent(
        call_id="c", tool="ask_b", arguments={}, key="k", effect="keyed", args_sha256="a", policy_sha256="p", fence=1
    )
    parent = Parent(call_id="c", callers=[Caller(run_id=root.id, agent="a")])
    call = CallsDecided(calls=[], model=ModelCall(model="m"))
    below = RunCreated(run_id="run_b", agent="b", session_id="r", input="hi", budget=Budget(), parent=parent)
    intent = intent.model_copy(update={"performed_by": "run_b"})
    await journal.append(root.id, [call, intent], claim.lease, [below])
    await journal.release(claim.lease, RunStatus.WAITING_AGENT)
    child = await journal.claim("w", 30)
    assert child is not None
    asked = ApprovalRequested(
        approval_id="sub", call_id="d", tool="refund", arguments={}, reason="", args_sha256="a", policy_sha256="p",
        expires_at=clock() + timedelta(seconds=600), not_starter=True,
    )  # fmt: skip
    await journal.append("run_b", [asked], child.lease)
    await journal.release(child.lease, RunStatus.WAITING_APPROVAL)
    with pytest.raises(Forbidden, match="key:ann started run"):
        await decide(journal, ann, name="sub")
    await decide(journal, bob, name="sub")
    again = await journal.claim("w", 30)
    assert again is not None
    await journal.release(again.lease, RunStatus.WAITING_AGENT)
    origin = {"origin": Origin(run_id=root.id, step=0), "session_id": "f"}
    first = RunCreated(agent="a", input="hi", budget=Budget(), **origin)  # type: ignore[arg-type]
    fork = (await journal.create(first, actor=bob)).run
    assert fork.started_by == bob
    held = await journal.claim("w", 30)
    assert held is not None
    assert held.run.id == fork.id
    request = asked.model_copy(update={"approval_id": "fork"})
    await journal.append(fork.id, [request], held.lease)
    await journal.release(held.lease, RunStatus.WAITING_APPROVAL)
    for who in (ann, bob):
        with pytest.raises(Forbidden, match="started run"):
            await decide(journal, who, name="fork")
    assert (await decide(journal, eve, name="fork")).status == "approved"


async def test_a_run_of_which_nobody_knows_who_started_it_is_not_approved(journal: Journal, clock: Clock) -> None:
    ann = await person(journal, "ann")
    await asking(journal, clock, None, not_starter=True)
    with pytest.raises(Forbidden, match="not recorded who started"):
        await decide(journal, ann)
    assert (await decide(journal, ann, "deny")).status == "denied"


async def test_a_fork_whose_original_is_gone_is_not_approved(clock: Clock) -> None:
    """Nothing removes runs, but a database can be mended by hand."""
    journal: Any = memory_journal(clock=clock, poll_s=0.01)
    ann, bob = await person(journal, "ann"), await person(journal, "bob", Role.OPERATOR)
    root = (await journal.create(RunCreated(agent="a", session_id="r", input="hi", budget=Budget()), actor=ann)).run
    assert await journal.claim("w", 30) is not None
    await asking(journal, clock, bob, not_starter=True, created={"origin": Origin(run_id=root.id, step=0)})
    del journal._backend._tables._runs[root.id]
    with pytest.raises(Forbidden, match="not recorded who started"):
        await decide(journal, ann)


async def test_an_approver_of_another_tenant_decides_nothing(journal: Journal, clock: Clock) -> None:
    far = await person(journal, "far", tenant_id="other")
    await asking(journal, clock, OWN, needed=2)
    with pytest.raises(NotFound):
        await journal.decide("other", "apr", "approve", far.name, None, far)


async def test_what_one_of_two_has_approved_expires(journal: Journal, clock: Clock) -> None:
    ann, bob = [await person(journal, name) for name in ("ann", "bob")]
    run_id = await asking(journal, clock, OWN, needed=2)
    await decide(journal, ann)
    clock.forward(601)
    with pytest.raises(Conflict, match="expired"):
        await decide(journal, bob)
    (expired,) = await journal.expire_approvals()
    assert (expired.status, expired.given) == ("expired", 1)
    assert (await journal.get("default", run_id)).status is RunStatus.QUEUED
