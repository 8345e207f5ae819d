"""Stops in any order: what is latched stops, what is lifted does not, and who lifted it first stays known."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.store import memory_journal
from flightloop.acts import Actor, ActorKind
from flightloop.chat import Tags
from flightloop.runs import Interrupt
from guardrails.interrupt import ANY_TENANT, InterruptWatch, matches

NAMES = ["x", "y"]
TAGS = [
    Tags(tenant_id=tenant, agent=name, session_id=name, subject=name, run_id=name)
    for tenant in ("a", "b")
    for name in NAMES
]


class Stops(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.journal = memory_journal()
        self.stops: dict[str, Interrupt] = {}

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @rule(
        tenant=st.sampled_from(["a", "b", ANY_TENANT]),
        scope=st.sampled_from(["all", "tenant", "agent", "session", "subject", "run"]),
        name=st.sampled_from(NAMES),
    )
    def stop(self, tenant: str, scope: str, name: str) -> None:
        named = None if scope == "all" else {"x": "a", "y": "b"}[name] if scope == "tenant" else name
        raised = self.do(self.journal.raise_interrupt(tenant, scope, named, "why", "who"))
        assert (raised.created_by, raised.reason, raised.cleared_at) == ("who", "why", None)
        self.stops[raised.id] = raised

    @precondition(lambda self: self.stops)
    @rule(which=st.integers(0, 99), by=st.sampled_from(NAMES))
    def lift(self, which: int, by: str) -> None:
        stop = list(self.stops.values())[which % len(self.stops)]
        actor = Actor(kind=ActorKind.KEY, id=by, name=by)
        lifted = self.do(self.journal.clear_interrupt(stop.tenant_id, stop.id, actor, f"{by} says so"))
        if stop.cleared_at is None:
            assert (lifted.cleared_by, lifted.clear_reason) == (by, f"{by} says so")
            assert lifted.cleared_at is not None
        else:
            assert lifted == stop
        self.stops[stop.id] = lifted

    @invariant()
    def what_is_latched_stops(self) -> None:
        snapshot = self.do(self.journal.interrupt_snapshot())
        watch = InterruptWatch(lambda: snapshot, 60.0)
        watch.poll()
        for tags in TAGS:
            latched = [one for one in self.stops.values() if one.cleared_at is None and matches(one, tags)]
            assert watch.stopped(tags, snapshot.epoch) is bool(latched)

    @invariant()
    def each_tenant_sees_what_can_stop_it(self) -> None:
        for tenant in ("a", "b"):
            listed = self.do(self.journal.interrupts(tenant, active=False))
            own = [one for one in self.stops.values() if one.tenant_id == tenant]
            of_all = [one for one in self.stops.values() if one.tenant_id == ANY_TENANT]
            seen = [*own, *(one for one in of_all if one.scope == "all" or one.target == tenant)]
            assert listed == sorted(seen, key=lambda one: one.epoch, reverse=True)

    def teardown(self) -> None:
        self.loop.close()


TestStops = Stops.TestCase
TestStops.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
