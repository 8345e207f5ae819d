"""The demonstration shop: a history that holds every kind of run, and a worker that goes on."""

from agent.testing.conversations import CONVERSATIONS
from agent.testing.scene import delegated, shop
from flightloop import Flightloop
from flightloop import events as ev
from flightloop.runs import RunStatus


def test_the_history_holds_every_kind_of_run() -> None:
    with shop() as platform, Flightloop(platform.url, platform.api_key) as client:
        runs = client.runs.list(limit=200).data
        statuses = {run.status for run in runs}
        assert statuses == {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.BLOCKED, RunStatus.WAITING_APPROVAL}
        for run in runs:
            times = [event.at for event in client.runs.events(run.id) if event.at]
            assert times == sorted(times), run.id


def test_an_approved_run_plays_on_and_a_stopped_one_stays_stopped() -> None:
    asks = next(one for one in CONVERSATIONS if one.waits)
    with shop(4) as platform, Flightloop(platform.url, platform.api_key) as client:
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
    with shop(2) as platform, Flightloop(platform.url, platform.api_key) as client:
        parent, child = delegated(platform)
        waits, asks = delegated(platform, waits=True)
        assert (parent.status, parent.delegated) == (RunStatus.SUCCEEDED, child.usage)
        assert (waits.status, asks.status) == (RunStatus.WAITING_AGENT, RunStatus.WAITING_APPROVAL)
        assert [run.id for run in client.runs.list(parent=parent.id).data] == [child.id]
