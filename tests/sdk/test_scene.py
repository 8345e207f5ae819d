"""The fake shop: a history that holds every kind of run, and a worker that plays on."""

from datetime import UTC, datetime, timedelta

from flightloop import Flightloop
from flightloop import events as ev
from flightloop.runs import RunStatus
from flightloop.testing import FakeServer
from flightloop.testing.delegation import delegated
from flightloop.testing.plots import PLOTS
from flightloop.testing.scene import shop
from flightloop.testing.script import Clock, worker


def test_the_history_holds_every_kind_of_run() -> None:
    world = shop()
    statuses = {run.status for run in world.runs.values()}
    assert statuses == {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.BLOCKED, RunStatus.WAITING_APPROVAL}
    for run_id, events in world.events.items():
        times = [event.at for event in events if event.at]
        assert times == sorted(times), run_id


def test_an_approved_run_plays_on_and_a_stopped_one_stays_stopped() -> None:
    asks = next(plot for plot in PLOTS if plot.waits)
    with FakeServer(shop(4), on_run=worker(lambda _: None)) as server, Flightloop(server.url, "test-key") as client:
        run = client.runs.create(agent="support", input=asks.asked)
        asked = next(item for item in client.runs.stream(run.id) if isinstance(item, ev.ApprovalRequested))
        client.approvals.decide(asked.approval_id, decision="deny")
        done = client.runs.wait(run.id, timeout_s=20)
        assert done.stop_reason == "escalated"
        refunds = [
            item for item in client.runs.stream(run.id) if isinstance(item, ev.ToolIntent) and item.tool == "pay_back"
        ]
        assert refunds == []


def test_a_run_works_for_another_one_which_counts_what_it_used() -> None:
    world = shop(2)
    parent, child = delegated(world, Clock(datetime.now(UTC) - timedelta(minutes=1)))
    waits, asks = delegated(world, Clock(datetime.now(UTC) - timedelta(minutes=1)), waits=True)
    assert (parent.status, parent.delegated) == (RunStatus.SUCCEEDED, child.usage)
    assert (waits.status, asks.status) == (RunStatus.WAITING_AGENT, RunStatus.WAITING_APPROVAL)
    with FakeServer(world) as server, Flightloop(server.url, "test-key") as client:
        assert [run.id for run in client.runs.list(parent=parent.id).data] == [child.id]
