"""Figures, histories, steps and bars: what the pages are drawn from."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from agent.testing.platform import Platform
from agent.testing.scene import delegated, shop
from dashboards import figures
from dashboards.history import History
from dashboards.steps import bars_of, steps_of
from flightloop import Flightloop
from flightloop import events as ev
from flightloop.overview import Overview
from flightloop.runs import RunStatus

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def tokens(at: int, total: float) -> Overview:
    item = {"name": "flightloop_model_tokens_total", "value": total, "labels": {"kind": "completion"}}
    return Overview.model_validate({"at": NOW + timedelta(seconds=at), "model": [item]})


def test_figures_are_chosen_by_label_and_summed() -> None:
    load = [{"name": "flightloop_x", "value": value, "labels": {"a": name}} for name, value in (("1", 2), ("2", 3))]
    overview = Overview.model_validate({"at": NOW, "model": [*load, {"name": "flightloop_x", "labels": {"a": "3"}}]})
    assert figures.value(overview, "x") == 5
    assert figures.value(overview, "x", a="2") == 3
    assert figures.value(overview, "x", a="3") is None
    assert figures.by_label(overview, "x", "a") == {"1": 2, "2": 3}


def test_means_are_weighted_by_their_counts() -> None:
    items = [{"name": "flightloop_h", "value": value, "count": count} for value, count in ((1.0, 9), (2.0, 1))]
    assert figures.average(Overview.model_validate({"at": NOW, "model": items}), "h") == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figures.seconds(0.0123), "12.3 ms"),
        (figures.seconds(0.9997), "1.0 s"),
        (figures.seconds(7.25), "7.2 s"),
        (figures.seconds(600), "10.0 min"),
        (figures.seconds(0), "0.0 s"),
        (figures.seconds(8 * 3600), "8.0 h"),
        (figures.seconds(None), figures.NOTHING),
        (figures.count(999), "999"),
        (figures.count(45_600), "45.6k"),
        (figures.count(999_700), "1M"),
        (figures.count(163_000_000), "163M"),
        (figures.euros(0), "€ 0.00"),
        (figures.euros(0.0012), "€ 0.0012"),
        (figures.ago(NOW - timedelta(minutes=3), NOW), "3 min ago"),
        (figures.ago(NOW, NOW), "just now"),
        (figures.ahead(NOW + timedelta(hours=4), NOW), "in 4 h"),
        (figures.ahead(NOW, NOW), "in a moment"),
    ],
)
def test_numbers_as_people_read_them(shown: str, expected: str) -> None:
    assert shown == expected


def test_a_rate_is_growth_per_second_and_a_restart_is_none() -> None:
    history = History()
    for at, total in ((0, 100.0), (2, 140.0), (4, 10.0), (5, 15.0)):
        history.add(tokens(at, total))
    assert history.rate("model_tokens_total", kind="completion") == [20.0, 0.0, 5.0]


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with shop() as running:
        yield running


@pytest.fixture(scope="module")
def client(platform: Platform) -> Iterator[Flightloop]:
    with Flightloop(platform.url, platform.api_key) as found:
        yield found


def test_steps_hold_every_verdict_and_call_once(client: Flightloop) -> None:
    for run in client.runs.list(limit=200).data:
        events = client.runs.events(run.id)
        steps = steps_of(events)
        judged = sum(isinstance(event, ev.Judged) for event in events)
        passed = sum(event.passed.count for event in events if isinstance(event, ev.ChecksPassed))
        shown = [verdicts for step in steps for verdicts in (step.verdicts, *(c.verdicts for c in step.calls.values()))]
        assert sum(map(len, shown)) == judged + passed, run.id
        called = [event.call_id for event in events if isinstance(event, ev.ToolIntent)]
        assert [id for step in steps for id, call in step.calls.items() if call.intent_at] == called


def test_a_call_tells_which_run_works_on_it(platform: Platform) -> None:
    parent, child = delegated(platform)
    events = platform.events(parent.id)
    (call,) = next(step.calls for step in steps_of(events) if step.calls).values()
    assert (call.performed_by, call.state) == (child.id, "ok")
    assert [bar.label for bar in bars_of(events, NOW) if bar.kind == "agent"] == ["2 · ask_returns"]


def test_bars_lie_within_the_run_and_none_stays_open(client: Flightloop) -> None:
    for run in client.runs.list(limit=200).data:
        until = run.ended_at or datetime.now(UTC)
        bars = bars_of(client.runs.events(run.id), until)
        whole = (until - run.created_at).total_seconds()
        assert all(0 <= bar.start <= bar.end <= whole + 1e-6 for bar in bars)
        assert [bar.start for bar in bars] == sorted(bar.start for bar in bars)
        if run.status is RunStatus.WAITING_APPROVAL:
            assert bars[-1].kind == "person"
            assert bars[-1].detail == "still running"
