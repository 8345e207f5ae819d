from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flightloop.chat import Tags
from flightloop.runs import Interrupt
from guardrails.fakes import SnapshotSource, SteppingClock
from guardrails.interrupt import InterruptSnapshot, InterruptWatch, matches

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SILENCE = 5.0


def interrupt(epoch, tenant="t1", scope="all", target=None, cleared=False):
    return Interrupt(
        id=f"int_{epoch}",
        tenant_id=tenant,
        scope=scope,
        target=target,
        epoch=epoch,
        created_at=NOW,
        cleared_at=NOW if cleared else None,
    )


def watching(*interrupts, epoch=None):
    latest = max((item.epoch for item in interrupts), default=0)
    watch = InterruptWatch(lambda: InterruptSnapshot(epoch or latest, interrupts), SILENCE, SteppingClock())
    watch.poll()
    return watch


TAGS = Tags(tenant_id="t1", agent="support", session_id="s1", run_id="r1")


@pytest.mark.parametrize(
    ("scope", "target", "expected"),
    [
        ("all", None, True),
        ("agent", "support", True),
        ("agent", "s1", False),
        ("session", "s1", True),
        ("session", "s2", False),
        ("run", "r1", True),
        ("run", None, False),
    ],
)
def test_scopes(scope, target, expected):
    assert matches(interrupt(1, scope=scope, target=target), TAGS) is expected
    assert not matches(interrupt(1, "t2", scope, target), TAGS)
    assert matches(interrupt(1, "*", scope, target), TAGS) is expected


def test_nothing_matches_what_a_request_does_not_say():
    assert not matches(interrupt(1, scope="agent", target=None), Tags(tenant_id="t1"))


def test_an_active_interrupt_stops_what_comes_later_too():
    assert watching(interrupt(3)).stopped(TAGS, 7)


def test_a_cleared_interrupt_stops_what_was_admitted_before_it():
    watch = watching(interrupt(3, cleared=True))
    assert watch.stopped(TAGS, 2)
    assert not watch.stopped(TAGS, 3)
    assert watch.active(TAGS) is None


def test_the_latest_active_interrupt_is_told():
    found = watching(
        interrupt(3), interrupt(4, scope="run", target="r2"), interrupt(5, scope="agent", target="support")
    )
    assert found.active(TAGS).epoch == 5
    assert found.active(Tags(tenant_id="t2")) is None


def test_never_heard_is_stopped():
    source = SnapshotSource(InterruptSnapshot(0, ()), reachable=False)
    watch = InterruptWatch(source, SILENCE, SteppingClock())
    watch.poll()
    assert watch.stopped(TAGS, 0)


def test_an_epoch_that_goes_backwards_is_silence():
    source, clock = SnapshotSource(InterruptSnapshot(5, (interrupt(5),))), SteppingClock()
    watch = InterruptWatch(source, SILENCE, clock)
    watch.poll()
    source.snapshot = InterruptSnapshot(4, ())
    clock.now += SILENCE + 1
    watch.poll()
    assert watch.epoch() == 5
    assert watch.stopped(Tags(tenant_id="t2"), 5)


class Emergency(RuleBasedStateMachine):
    """A store with two tenants, requests admitted along the way, and a source that comes and goes."""

    def __init__(self):
        super().__init__()
        self.clock = SteppingClock()
        self.source = SnapshotSource(InterruptSnapshot(0, ()))
        self.watch = InterruptWatch(self.source, SILENCE, self.clock)
        self.heard = None
        self.seen = self.source.snapshot
        self.admitted = []

    @rule(
        tenant=st.sampled_from(["t1", "t2", "*"]),
        which=st.sampled_from([("all", None), ("agent", "a"), ("session", "s"), ("run", "r")]),
    )
    def raise_one(self, tenant, which):
        epoch = self.source.snapshot.epoch + 1
        raised = interrupt(epoch, tenant, *which)
        self.source.snapshot = InterruptSnapshot(epoch, (*self.source.snapshot.interrupts, raised))

    @precondition(lambda self: self.source.snapshot.interrupts)
    @rule(data=st.data())
    def clear_one(self, data):
        one = data.draw(st.sampled_from(self.source.snapshot.interrupts))
        cleared = tuple(
            item.model_copy(update={"cleared_at": NOW}) if item.id == one.id else item
            for item in self.source.snapshot.interrupts
        )
        self.source.snapshot = InterruptSnapshot(self.source.snapshot.epoch, cleared)

    @rule(seconds=st.sampled_from([0.5, 3.0, SILENCE + 1]))
    def pass_time(self, seconds):
        self.clock.now += seconds

    @rule(reachable=st.booleans())
    def connect(self, reachable):
        self.source.reachable = reachable

    @rule()
    def poll(self):
        self.watch.poll()
        if self.source.reachable:
            self.heard, self.seen = self.clock.now, self.source.snapshot

    @rule(tenant=st.sampled_from(["t1", "t2"]), agent=st.sampled_from(["a", "b"]))
    def admit(self, tenant, agent):
        tags = Tags(
            tenant_id=tenant, agent=agent, session_id="s", run_id=f"r{len(self.admitted)}" if agent == "b" else "r"
        )
        self.admitted.append((tags, self.watch.epoch()))

    @invariant()
    def what_has_to_stop_is_stopped_and_nothing_else(self):
        silent = self.heard is None or self.clock.now - self.heard > SILENCE
        for tags, epoch in self.admitted:
            hits = [
                item
                for item in self.seen.interrupts
                if item.tenant_id in ("*", tags.tenant_id)
                and item.target in (None, tags.agent, tags.session_id, tags.run_id)
                and (item.cleared_at is None or item.epoch > epoch)
            ]
            assert self.watch.stopped(tags, epoch) is (silent or bool(hits))
            active = [item.epoch for item in hits if item.cleared_at is None]
            found = self.watch.active(tags)
            assert (found.epoch if found else None) == max(active, default=None)

    @invariant()
    def the_epoch_is_the_latest_heard(self):
        assert self.watch.epoch() == self.seen.epoch


TestEmergency = Emergency.TestCase
TestEmergency.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
