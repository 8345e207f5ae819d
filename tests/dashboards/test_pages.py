"""Each page of the console shows what the API tells and does what its buttons say."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from agent.run.budgets import TenantBudgets
from agent.testing.conversations import AGREED, CONVERSATIONS, NOTED
from agent.testing.fakes import AnsweringChatModel
from agent.testing.platform import Platform, project_of
from agent.testing.scene import delegated
from dashboards import figures
from dashboards.connection import PLACE, Connection
from flightloop import Flightloop
from flightloop import events as ev
from flightloop.approvals import DryRun
from flightloop.content import text_of
from flightloop.model_card import ModelCard
from flightloop.runs import Budget, ProjectInfo, RunStatus, StopReason
from tests.console import free_port

Show = Callable[..., AppTest]
PAGES = ["overview", "runs", "run", "approvals", "stop", "agents", "chat"]


def text(app: AppTest) -> str:
    """Everything that is written on the page, HTML included."""
    bodies = [item.proto.body for item in [*app.main.get("html"), *app.sidebar.get("html")]]
    said = [body for body in bodies if not body.startswith("<style")]
    said += [item.value for kind in ("markdown", "caption", "error", "warning") for item in getattr(app, kind)]
    return "\n".join(str(item) for item in said)


def run_with(client: Flightloop, status: RunStatus) -> str:
    return client.runs.list(status=status).data[0].id


def test_the_overview_shows_the_three_tiers(show: Show) -> None:
    app = show("overview")
    readings = {metric.label: metric.value for metric in app.metric}
    assert readings["Memory"] == "38%"
    assert readings["First token p95"] == "1.1 s"
    assert readings["Satisfaction"] == "81%"
    assert [readings[name] for name in ("Verified", "ROI", "Toxic answers")] == ["47%", "62.4 ×", "0%"]
    assert "1 call waits for a person" in text(app)


def test_the_overview_says_when_all_is_well(show: Show, platform: Platform, client: Flightloop) -> None:
    for item in client.approvals.list().data:
        client.approvals.decide(item.id, decision="deny")
        client.runs.wait(item.run_id)
    assert "All systems normal" in text(show("overview"))


def test_a_stop_is_the_first_thing_the_overview_says(show: Show, client: Flightloop) -> None:
    client.interrupts.create(reason="refunds <b>ran</b> away")
    said = text(show("overview"))
    assert "Everything is stopped" in said
    assert "refunds &lt;b&gt;ran&lt;/b&gt; away" in said


def test_runs_are_filtered_by_the_address(show: Show, client: Flightloop) -> None:
    everything = len(client.runs.list().data)
    assert len(show("runs").dataframe[0].value) == everything
    blocked = show("runs", status="blocked")
    assert set(blocked.dataframe[0].value["status"]) == {"■ blocked"}
    assert "No such run" in text(show("runs", status="cancelled"))


def test_runs_are_paged(show: Show, platform: Platform, client: Flightloop) -> None:
    for _ in range(20):
        client.runs.create(agent="support", input=CONVERSATIONS[0].asked)
    app = show("runs")
    first = app.dataframe[0].value
    button(app, "Older").click().run()
    second = app.dataframe[0].value
    assert (len(first), len(second)) == (20, 12)
    button(app, "Newer").click().run()
    assert len(app.dataframe[0].value) == 20


def button(app: AppTest, label: str):
    return next(item for item in app.button if item.label == label)


def test_a_run_shows_its_steps(show: Show, client: Flightloop) -> None:
    app = show("run", id=run_with(client, RunStatus.SUCCEEDED))
    assert [item.label for item in app.expander][:2] == ["Input", "1 · Plan"]
    assert "✓" in text(app)
    assert len(app.code) >= 2
    assert len(app.get("vega_lite_chart")) == 1


def test_a_failed_run_says_why(show: Show, client: Flightloop) -> None:
    run_id = run_with(client, RunStatus.BLOCKED)
    app = show("run", id=run_id)
    blocked = [event for event in client.runs.events(run_id) if isinstance(event, ev.Judged)]
    assert blocked[-1].verdict.reason in text(app)


def test_a_run_shows_where_a_tool_raised(show: Show, client: Flightloop) -> None:
    fails = next(one for one in CONVERSATIONS if one.failed)
    run = client.runs.create(agent="returns", input=fails.asked)
    assert client.runs.wait(run.id, timeout_s=20).status is RunStatus.FAILED
    app = show("run", id=run.id)
    assert "Traceback" in [item.label for item in app.expander]
    results = [event for event in client.runs.events(run.id) if isinstance(event, ev.ToolResult)]
    assert results[0].traceback is not None
    assert "KeyError: 'A-10250'" in results[0].traceback
    assert results[0].traceback in [item.value for item in app.code]


def test_an_erased_run_says_so(show: Show, client: Flightloop) -> None:
    run = client.runs.get(run_with(client, RunStatus.SUCCEEDED))
    assert client.erase(session_id=run.session_id, end_runs=True).runs >= 1
    app = show("run", id=run.id)
    assert any(one.value.startswith("Erased ") for one in app.info)
    assert run.output_text not in text(app)
    labels = [one.label for one in app.button]
    assert not {"Resume", "Solved", "Not solved"} & set(labels)


def test_a_run_that_is_unknown_or_unnamed(show: Show) -> None:
    assert "Can't show the run run\\_0" not in text(show("run", id="run_0"))
    assert "Can't show the run run_0" in text(show("run", id="run_0"))
    assert "No run chosen" in text(show("run"))


def test_a_run_is_stopped_resumed_and_rated_from_its_page(show: Show, platform: Platform, client: Flightloop) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="Hello")
    app = show("run", id=run.id)
    button(app, "Stop now").click().run()
    assert client.runs.get(run.id).status is RunStatus.INTERRUPTED
    button(app, "Resume").click().run()
    assert client.runs.get(run.id).status is RunStatus.QUEUED
    button(app, "Cancel at the next step").click().run()
    assert client.runs.get(run.id).stop_reason is StopReason.CANCEL
    button(app, "Not solved").click().run()
    assert [event.type for event in client.runs.events(run.id)][-1] == "outcome"


@pytest.mark.parametrize(("label", "status"), [("Approve", "approved"), ("Deny", "denied")])
def test_a_call_is_decided_with_a_reason(show: Show, client: Flightloop, label: str, status: str) -> None:
    waiting = client.approvals.list().data[0]
    app = show("approvals")
    assert waiting.reason.split(":")[0] in text(app)
    app.text_input(key=f"reason-{waiting.id}").set_value("spoke to the customer")
    button(app, label).click().run()
    decided = next(item for item in client.approvals.list(status=None).data if item.id == waiting.id)
    assert (decided.status, decided.decision_reason) == (status, "spoke to the customer")
    assert "Nothing waits" in text(app)


def test_a_card_shows_who_decides_the_users_words_and_what_would_change(
    show: Show, platform: Platform, client: Flightloop
) -> None:
    waiting = client.approvals.list().data[0]
    told = {
        "needed": 2,
        "words": "Give it *all* to\u202e me",
        "asked": ["limits: too much", "plan: unforeseen"],
        "dry_run": DryRun(tool="preview", ok=True, text="pays 5 EUR"),
    }
    changed = waiting.model_copy(update=told)
    platform.do(platform.backend.write(lambda tx: tx.save_approval(changed)))
    app = show("approvals")
    said = text(app)
    for words in (
        "Give it \\*all\\* to\N{REPLACEMENT CHARACTER} me",
        "2 persons must approve",
        r"limits\: too much",
        r"plan\: unforeseen",
    ):
        assert words in said
    assert "pays 5 EUR" in [item.value for item in app.code]
    button(app, "Approve").click().run()
    decided = client.approvals.get(waiting.id)
    assert (decided.status, [one.by for one in decided.decisions]) == ("pending", ["key:default"])
    assert r"1 of 2 have\: key\:default" in text(app)
    button(app, "Approve").click().run()
    assert "has already approved" in text(app).replace("\\", "")
    failed = changed.model_copy(update={"dry_run": DryRun(tool="preview", ok=False, text="no such order")})
    platform.do(platform.backend.write(lambda tx: tx.save_approval(failed)))
    assert r"could not be computed\: no such order" in text(show("approvals"))


def test_everything_is_stopped_only_after_a_second_look(show: Show, client: Flightloop) -> None:
    app = show("stop")
    assert "Nothing is stopped" in text(app)
    button(app, "STOP everything").click().run()
    assert client.interrupts.list().data == []
    button(app, "Keep running").click().run()
    button(app, "STOP everything").click().run()
    button(app, "Yes, stop everything now").click().run()
    latched = client.interrupts.list().data
    assert [item.scope for item in latched] == ["all"]
    assert "Everything is stopped" in text(app)
    button(app, "Clear").click().run()
    assert client.interrupts.list().data == []


def test_one_agent_is_stopped(show: Show, client: Flightloop) -> None:
    app = show("stop")
    app.button_group(key="scope").set_value("agent").run()
    app.selectbox[0].set_value("returns").run()
    button(app, "STOP the agent returns").click().run()
    button(app, "Yes, stop the agent returns now").click().run()
    assert [(item.scope, item.target) for item in client.interrupts.list().data] == [("agent", "returns")]


def test_agents_tools_policies_and_audit_are_listed(show: Show, platform: Platform) -> None:
    app = show("agents")
    assert [item.value for item in app.subheader][:2] == ["support", "returns"]
    assert "log intact" in text(app)
    assert any(item.label.replace("\\", "").startswith("pay_back") for item in app.expander)
    assert '"tainted_writes"' in app.json[0].value


@pytest.mark.parametrize(("reads", "told"), [(True, "yes"), (False, "only if its policy locks to the plan")])
def test_agents_tell_if_their_runs_are_planned(
    show: Show, monkeypatch: pytest.MonkeyPatch, reads: bool, told: str
) -> None:
    async def models(self: AnsweringChatModel) -> list[ModelCard]:
        return [ModelCard(id="scripted", reads_plans=reads)]

    monkeypatch.setattr(AnsweringChatModel, "models", models)
    assert f"<dt>plans first</dt><dd>{told}</dd>" in text(show("agents"))


def test_a_torn_audit_chain_is_told(show: Show, platform: Platform, client: Flightloop) -> None:
    last = client.audit.list(limit=1000).data[-1]
    torn = last.model_copy(update={"tenant_id": "default", "seq": last.seq + 1, "previous_sha256": "0" * 64})
    platform.do(platform.backend.write(lambda tx: tx.add_audit([torn])))
    app = show("agents")
    assert "1 problems found" in text(app)
    told = [item.value.replace("\\", "") for item in app.error]
    assert told == [f"record {torn.seq}: does not continue the record before it"]


def test_a_conversation_shows_its_answers(show: Show, client: Flightloop) -> None:
    app = show("chat", session="s1", agent="support")
    assert "Talk to support" in text(app)
    app.chat_input[0].set_value(CONVERSATIONS[0].asked).run()
    assert [item.value for item in app.exception] == []
    runs = client.runs.list(session_id="s1").data
    assert [run.status for run in runs] == [RunStatus.SUCCEEDED]
    assert "PostNord" in text(app)
    assert "Talk to support" not in text(app)


def test_a_conversation_waits_for_a_person_and_goes_on(show: Show, client: Flightloop) -> None:
    app = show("chat", session="s2", agent="support")
    asks = next(one for one in CONVERSATIONS if one.waits)
    app.chat_input[0].set_value(asks.asked).run()
    assert client.runs.list(session_id="s2").data[0].status is RunStatus.WAITING_APPROVAL
    button(app, "Approve").click().run()
    assert client.runs.list(session_id="s2").data[0].status is RunStatus.SUCCEEDED
    assert "R\\-5520" in text(app)


def test_a_button_says_yes_to_the_calls_that_are_shown(show: Show, client: Flightloop) -> None:
    app = show("chat", session="s3", agent="support")
    app.chat_input[0].set_value(NOTED.asked).run()
    assert client.runs.list(session_id="s3").data[0].stop_reason is StopReason.CONFIRMATION
    assert "pay back: amount 12.5, order id" in text(app).replace("\\", "")
    button(app, "Yes").click().run()
    agreed = client.runs.list(session_id="s3").data[0]
    assert (text_of(agreed.input), agreed.output_text) == ("yes", AGREED.answer)
    assert "Yes" not in [item.label for item in app.button]


def links(app: AppTest) -> dict[str, str]:
    """Labels of links and the run that they lead to."""
    found = {item.proto.label: parse_qs(item.proto.query_string) for item in app.get("page_link")}
    return {label: query["id"][0] for label, query in found.items() if "id" in query}


def test_a_run_shows_the_runs_that_work_for_it(show: Show, platform: Platform) -> None:
    parent, child = delegated(platform)
    app = show("run", id=parent.id)
    (table,) = (item.value for item in app.dataframe)
    assert table[["status", "agent", "steps"]].values.tolist() == [["● succeeded", "returns", child.usage.steps]]
    assert links(app) == {"Another agent's run": child.id}
    assert f"Of this, its sub-runs used {child.usage.steps} steps" in text(app)
    assert app.metric[0].value == f"{parent.usage.steps + child.usage.steps} / {parent.budget.steps}"
    below = show("run", id=child.id)
    assert links(below) == {"Works for support": parent.id}
    assert len(below.dataframe) == 0


def test_a_run_that_works_for_another_one_is_not_resumed_by_itself(
    show: Show, platform: Platform, client: Flightloop
) -> None:
    _, child = delegated(platform, waits=True)
    client.runs.interrupt(child.id)
    assert "Resume" not in [item.label for item in show("run", id=child.id).button]


@pytest.mark.parametrize("page", ["run", "chat"])
def test_a_call_of_an_agent_is_decided_where_another_one_waits_for_it(
    show: Show, platform: Platform, client: Flightloop, page: str
) -> None:
    parent, child = delegated(platform, waits=True)
    app = show(page, id=parent.id, session=parent.session_id)
    assert "nother agent" in text(app)
    assert links(app)["See the run"] == child.id
    button(app, "Deny").click().run()
    assert [item.status for item in client.approvals.list(status=None).data if item.run_id == child.id] == ["denied"]


def test_lists_tell_which_runs_work_for_others(show: Show, platform: Platform) -> None:
    delegated(platform, waits=True)
    table = show("runs").dataframe[0].value
    assert table[["status", "agent"]].values.tolist()[:2] == [
        ["◆ waits for approval", "returns, for support"],
        ["◇ waits for another agent", "support"],
    ]


def test_a_conversation_has_no_turns_of_agents_among_themselves(show: Show, platform: Platform) -> None:
    parent, child = delegated(platform)
    app = show("chat", session=parent.session_id)
    assert len(app.chat_message) == 2
    assert links(app) == {"Open the run": parent.id, "Another agent's run": child.id}


def test_a_tenants_budget_is_shown_where_there_is_one(show: Show, platform: Platform, client: Flightloop) -> None:
    assert "fl-meters" not in text(show("overview"))
    used = client.usage().tenant.used
    platform.bound(TenantBudgets(Budget(steps=used.steps, tokens=2 * used.tokens)))
    said = text(show("overview"))
    assert "The tenant&#x27;s budget of steps is exhausted" in said
    assert said.count('class="fl-bar"') == 2
    assert said.count("no limit") == 2
    assert "50% used" in said
    until = client.usage().tenant.until
    assert until is not None
    assert f"Resets {figures.ahead(until, datetime.now(UTC))}" in said


@pytest.mark.parametrize("page", PAGES)
def test_a_broken_project_is_told_on_every_page(show: Show, platform: Platform, page: str) -> None:
    assert "project's files" not in text(show(page))
    problem = "agents/a.yaml:3: <b>not</b> YAML"
    platform.project.status = ProjectInfo(loaded_at=datetime.now(UTC), problem=problem, broken_since=datetime.now(UTC))
    written = text(show(page))
    assert written.count("The project&#x27;s files can&#x27;t be used since") == 1
    assert "agents/a.yaml:3: &lt;b&gt;not" in written


@pytest.fixture
def empty() -> Iterator[Platform]:
    with Platform(project_of(), AnsweringChatModel(lambda request: [])) as running:
        yield running


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_platform_is_explained(
    show: Show, empty: Platform, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLIGHTLOOP_URL", empty.url)
    app = show(page)
    if page not in ("stop", "agents"):
        assert "fl-empty" in text(app)


@pytest.mark.parametrize("page", PAGES)
def test_a_platform_that_is_down_is_explained(show: Show, platform: Platform, page: str) -> None:
    app = show(page, id="run_1")
    client = Flightloop(f"http://127.0.0.1:{free_port()}", platform.api_key, retries=0)
    app.session_state[PLACE] = Connection(client, app.session_state[PLACE].caller)  # which has asked for nothing yet
    app.run()
    assert "is the server up?" in text(app)
    assert "no connection" in text(app)


def test_a_key_that_is_revoked_meanwhile_is_explained(show: Show, platform: Platform, client: Flightloop) -> None:
    app = show("runs")
    made = client.keys.create(name="ann", role="viewer")
    app.session_state[PLACE] = Connection(Flightloop(platform.url, made.key), app.session_state[PLACE].caller)
    app.run()
    assert "log out" not in text(app)
    client.keys.revoke(made.id)
    app.run()
    assert "log out, and log in again" in text(app)


def test_what_people_write_is_not_read_as_markup(show: Show, client: Flightloop, platform: Platform) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="<script>alert(1)</script> **bold** [x](http://evil.example)")
    client.runs.interrupt(run.id)
    said = text(show("run", id=run.id))
    assert "**bold**" not in said
    assert "<script>" not in said
