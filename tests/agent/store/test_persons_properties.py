"""Several persons and one approval, in any order of approvals, denials, revocations and new keys."""

from __future__ import annotations

import asyncio
from itertools import combinations
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.store import memory_journal
from flightloop.acts import Act, Actor
from flightloop.approvals import Approval
from flightloop.errors import Conflict, Forbidden
from flightloop.events import ApprovalDecided, ApprovalGiven
from flightloop.keys import Role
from tests.agent.conftest import Clock
from tests.agent.store.test_persons import OWN, asking, decide, person

NAMES = ("ann", "Ann", "bob", "eve", "default")
ROLES = (Role.VIEWER, Role.APPROVER, Role.OPERATOR)


def alike(one: Actor, other: Actor) -> bool:
    return one.id == other.id or one.name.casefold() == other.name.casefold()


class Deciding(RuleBasedStateMachine):
    """A journal beside what a person with pencil and paper would write down about one approval."""

    @initialize(
        needed=st.integers(1, 3),
        not_starter=st.booleans(),
        starter=st.integers(0, 3),
        own=st.booleans(),
        roles=st.lists(st.sampled_from(ROLES), min_size=3, max_size=5),
    )
    def begin(self, needed: int, not_starter: bool, starter: int, own: bool, roles: list[Role]) -> None:
        self.runner, self.clock = asyncio.Runner(), Clock()
        self.journal: Any = memory_journal(clock=self.clock, poll_s=0.01)
        self.people = [OWN] if own else []
        self.others = [OWN] if own else []
        self.may = {OWN.id: own}
        for role, name in zip(roles, NAMES, strict=False):
            self.add(role, name)
        self.needed, self.not_starter = needed, not_starter
        self.starter = self.people[min(starter, len(self.people) - 1)]
        wanted = {"needed": needed, "not_starter": not_starter}
        self.run_id = self.runner.run(asking(self.journal, self.clock, self.starter, **wanted))
        self.approved: list[Actor] = []
        self.ended: Literal["approved", "denied"] | None = None

    def add(self, role: Role, name: str) -> None:
        key_id = f"key_{len(self.people)}"
        self.people.append(self.runner.run(person(self.journal, name, role, key_id)))
        self.may[key_id] = role is not Role.VIEWER

    def deciding(self, number: int) -> Actor | None:
        """A person whose key may decide; the API lets nobody else through."""
        able = [one for one in self.people if self.may[one.id]]
        return able[number % len(able)] if able else None

    @rule(role=st.sampled_from(ROLES), name=st.sampled_from(NAMES))
    def gets_a_key(self, role: Role, name: str) -> None:
        self.add(role, name)

    @rule(number=st.integers(0, 9))
    def loses_the_key(self, number: int) -> None:
        gone = self.people[number % len(self.people)]
        if gone.id != OWN.id:
            self.runner.run(self.journal.keys.revoke("default", gone.id))
            self.may[gone.id] = False
            if self.ended is None:
                self.approved = [one for one in self.approved if one.id != gone.id]

    @precondition(lambda self: self.ended is None)
    @rule(number=st.integers(0, 9))
    def approves(self, number: int) -> None:
        who = self.deciding(number)
        if who is None:
            return
        others = [one for one in self.people if self.may[one.id] and not alike(one, self.starter)]
        if any(alike(who, one) for one in self.approved):
            expected: type[Exception] | None = Conflict
        else:
            barred = self.not_starter and alike(who, self.starter) and (others or self.needed > 1)
            expected = Forbidden if barred else None
        if expected is not None:
            with pytest.raises(expected):
                self.runner.run(decide(self.journal, who, others=self.others))
            return
        self.runner.run(decide(self.journal, who, others=self.others))
        self.approved.append(who)
        if len(self.approved) >= self.needed:
            self.ended = "approved"

    @precondition(lambda self: self.ended is None)
    @rule(number=st.integers(0, 9))
    def denies(self, number: int) -> None:
        who = self.deciding(number)
        if who is not None:
            self.runner.run(decide(self.journal, who, "deny", others=self.others))
            self.ended = "denied"

    @precondition(lambda self: self.ended is not None)
    @rule(number=st.integers(0, 9), decision=st.sampled_from(["approve", "deny"]))
    def comes_too_late(self, number: int, decision: Literal["approve", "deny"]) -> None:
        who = self.deciding(number)
        if who is not None:
            with pytest.raises(Conflict):
                self.runner.run(decide(self.journal, who, decision, others=self.others))

    @invariant()
    def it_is_as_written_down(self) -> None:
        if not hasattr(self, "run_id"):
            return
        (approval,) = self.runner.run(self.journal.run_approvals(self.run_id))
        assert isinstance(approval, Approval)
        assert approval.status == (self.ended or "pending")
        agreed = [one for one in approval.decisions if one.decision == "approve"]
        if self.ended == "approved":
            assert len(agreed) == self.needed
            assert {one.key_id for one in agreed} == {one.id for one in self.approved}
            assert not any(alike(*pair) for pair in combinations(self.approved, 2))
        elif self.ended is None:  # an approval of a revoked key is dropped with the next decision
            assert {one.id for one in self.approved} <= {one.key_id for one in agreed}
            assert approval.given >= len(self.approved)
        for one in agreed:
            assert bool(one.note) <= self.not_starter
        self.its_events_tell_it(approval)

    def its_events_tell_it(self, approval: Approval) -> None:
        events = self.runner.run(self.journal.events("default", self.run_id))
        given = [event for event in events if isinstance(event, ApprovalGiven)]
        decided = [event for event in events if isinstance(event, ApprovalDecided)]
        assert len(decided) == (self.ended is not None)
        records = self.runner.run(self.journal.audit("default", act=Act.APPROVAL))
        assert [one.details["decision"] for one in records] == ["given"] * len(given) + ([self.ended] * len(decided))
        assert all(event.given < event.needed == self.needed for event in given)
        if decided:
            assert decided[0].decisions == approval.decisions

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()


TestDeciding = Deciding.TestCase
TestDeciding.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
