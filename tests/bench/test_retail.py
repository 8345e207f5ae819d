"""The retail bench: data and errors, whole conversations with a scripted model, the project with its real tools."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from rich.console import Console
from typer.testing import CliRunner

from agent.loop.agent_runtime import AgentRuntimes
from agent.loop.worker import Worker, WorkerConfig
from agent.models.answer_chunks import Turn, calls, text
from agent.project.agent_spec import AgentSpec
from agent.project.project import LiveProject, load_project
from agent.run.deltas import LocalDeltas
from agent.store import sql_journal
from agent.store.sql.interrupt_reader import reader
from agent.testing.fakes import AnsweringChatModel, ScriptedChatModel
from agent.testing.platform import Platform, project_of
from bench.__main__ import DATA, app
from bench.engine.page import put
from bench.errors import BenchError
from bench.retail.data import ARCHIVE, read
from bench.retail.documents import FILE, image, renew, state
from bench.retail.fakes import RULES, shop, write
from bench.retail.judge import replay
from bench.retail.play import MOST_TURNS, Player
from bench.retail.project import AGENT, GUARD, HAND_OVER, write_project
from bench.retail.rows import NOTE, fragment, outcomes, rows
from bench.retail.run import MARKS, PAGE, Wish, measure, play_all
from bench.retail.tools import TOOLS
from flightloop import Flightloop
from flightloop import events as ev
from flightloop.chat import ChatRequest
from flightloop.content import text_of
from flightloop.errors import ContextTooLong
from flightloop.runs import StopReason
from guardrails.guard import Guard
from guardrails.interrupt import InterruptWatch
from guardrails.policy import parse_policy, unhurried
from observability.tracing import Tracing
from tools.host import ToolHosts

ROOT = Path(__file__).resolve().parents[2]
IMAGE = image(shop())
QUIET = Console(file=io.StringIO())
POLICY = """
name: retail
version: "1"
stages:
  input: {rails: []}
  tool_call: {rails: []}
  tool_result: {rails: []}
  stream: {rails: []}
  final: {rails: []}
"""
CANCEL = ("cancel_pending_order", {"order_id": "#W1", "reason": "ordered by mistake"})
Said = tuple[Sequence[tuple[str, dict[str, Any]]], str]
Rule = Callable[[str, int], Said]
"""The agent's model: its calls and its answer to what the customer said, in that turn of the session."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "tau2" / "retail")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    renew(tmp_path / "home" / FILE, IMAGE)
    return tmp_path / "home" / FILE


Serve = Callable[..., Platform]


@pytest.fixture
def serve(database: Path) -> Serve:
    """A platform with the shop's tools, whose model keeps to a rule."""

    def made(rule: Rule, policy: str = POLICY) -> Platform:
        def answer(request: ChatRequest) -> Turn:
            said = [index for index, message in enumerate(request.messages) if message.role == "user"]
            wanted, words = rule(request.messages[said[-1]].text, len(said))
            done = sum(message.role == "tool" for message in request.messages[said[-1] :])
            return calls(wanted[done]) if done < len(wanted) else text(words)

        names = tuple(function.__name__ for function in TOOLS)
        agent = AgentSpec(
            name=AGENT, instructions=RULES, tools=names, policy=AGENT, planning=False, escalation=(HAND_OVER,)
        )
        project = project_of([agent], TOOLS, [parse_policy(policy)])
        return Platform(project, AnsweringChatModel(answer), data=database.parent)

    return made


@pytest.fixture
def player(database: Path) -> Callable[[Platform], Player]:
    return lambda platform: Player(Flightloop(platform.url, platform.api_key), database, IMAGE)


def test_a_task_is_played_to_its_end(serve: Serve, data: Path, player: Callable[[Platform], Player]) -> None:
    def rule(said: str, turn: int) -> Said:
        if "cancel" in said:
            return [], "May I have your email?"
        if "example.com" in said:
            return [], "I will cancel #W1 (a mistake). Do you confirm?"
        return [CANCEL], "Order #W1 has been cancelled."

    [task, _] = read(data).split("test")
    with serve(rule) as platform:
        seat = player(platform)
        with seat.client:
            played = seat.play(task)
            runs = seat.client.runs.list().data
            events = seat.client.runs.events(runs[0].id)
    assert [text_of(run.input) for run in reversed(runs)] == [
        "I want to cancel order #W1 because I ordered it by mistake.",
        "My email is ann.poe@example.com.",
        "Yes, please.",
    ]
    assert (played.verdict.solved, played.changes, len(played.turns)) == (True, True, 3)
    assert len({run.session_id for run in runs}) == 1
    told = [event for event in events if isinstance(event, ev.OutcomeVerified)]
    assert [event.solved for event in told] == [True]


def test_the_operator_agrees_and_each_task_gets_a_new_shop(
    serve: Serve, data: Path, player: Callable[[Platform], Player], tmp_path: Path
) -> None:
    def rule(said: str, turn: int) -> Said:
        if "cancel" not in said:
            return [], "There are 4 mugs."
        return [CANCEL], "Order #W1 has been cancelled."

    tasks = read(data).split("test")
    file = tmp_path / "said.jsonl"
    asking = POLICY + 'tools: {allow: {"*": ["*"]}, ask: [{tool: cancel_pending_order, reason: a person decides}]}\n'
    with serve(rule, asking) as platform:
        seat = player(platform)
        with seat.client:
            played = play_all(seat, [*tasks, tasks[0]], QUIET, file)
            approvals = seat.client.approvals.list(status=None).data
    assert [one.verdict.solved for one in played] == [True, True, True]
    assert [approval.status for approval in approvals] == ["approved", "approved"]
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(each["id"], each["state_right"]) for each in written] == [("a", True), ("b", True), ("a", True)]
    assert written[1]["turns"][0]["answer"] == "There are 4 mugs."
    found = {row.name: row for row in rows(played)}
    assert {name: row.value for name, row in found.items() if row.unit == "share"} == {
        "retail_solved": 1.0,
        "retail_state": 1.0,
        "retail_told": 1.0,
    }
    assert (found["retail_solved"].cases, found["retail_told"].cases) == (3, 1)
    assert (found["retail_state"].note or "").startswith("1 require no change; ")
    assert all(NOTE in (row.note or "") for row in found.values())
    assert "| `retail_solved` | 1 (" in fragment(list(found.values()), "about")
    assert outcomes(played).row_count == 3


@pytest.mark.parametrize(
    ("calls", "answer", "turns"),
    [
        ([(HAND_OVER, {"summary": "They want to cancel."})], "A person goes on.", 1),
        ([], "Hm.", 3),
        ([], "Your email, please?", 4),
        ([], "Do you confirm number {}?", MOST_TURNS),
    ],
)
def test_every_conversation_ends(
    calls: list[tuple[str, dict[str, Any]]],
    answer: str,
    turns: int,
    serve: Serve,
    data: Path,
    player: Callable[[Platform], Player],
) -> None:
    with serve(lambda said, turn: (calls, answer.format(turn))) as platform:
        seat = player(platform)
        with seat.client:
            played = seat.play(read(data).split("test")[0])
    assert len(played.turns) == turns
    assert (played.turns[-1].run.stop_reason is StopReason.ESCALATED) is bool(calls)
    assert not played.verdict.solved


def test_a_failed_run_says_nothing_and_the_customer_leaves(
    serve: Serve, data: Path, player: Callable[[Platform], Player]
) -> None:
    def rule(said: str, turn: int) -> Said:
        raise ContextTooLong.of(10, "the prompt has 20")

    with serve(rule) as platform:
        seat = player(platform)
        with seat.client:
            played = seat.play(read(data).split("test")[0])
    assert {turn.run.stop_reason for turn in played.turns} == {StopReason.CONTEXT}
    assert {turn.answer for turn in played.turns} == {""}
    assert not played.verdict.solved


def test_the_data_is_read_from_a_folder_above_it_and_from_its_archive(data: Path, tmp_path: Path) -> None:
    found = read(data)
    assert read(tmp_path) == found
    assert (found.policy, [task.id for task in found.split("test")]) == (RULES, ["a", "b"])
    assert [task.id for task in found.split("base", 1)] == ["a"]
    archives = tmp_path / "archives"
    archives.mkdir()
    with tarfile.open(archives / ARCHIVE, "w:xz") as archive:
        archive.add(data, "data/tau2/domains/retail")
    assert read(archives) == found


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("tasks.json", "[", "can't be|Invalid JSON"),
        ("tasks.json", '[{"id": "a"}]', "user_scenario: Field required"),
        ("split_tasks.json", '{"test": ["z"]}', "task z"),
        ("db.json", "{}", "users"),
        ("policy.md", None, r"with policy.md, is in|with policy.md is in"),
    ],
)
def test_data_that_can_not_be_used_is_told(file: str, content: str | None, said: str, data: Path) -> None:
    (data / file).unlink() if content is None else (data / file).write_text(content)
    with pytest.raises(BenchError, match=said):
        read(data)


def test_what_is_missing_or_unknown_is_told_before_anything_starts(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="--data DIR"):
        measure(QUIET, Wish(tmp_path / "nowhere"))
    with pytest.raises(BenchError, match="unknown split 'dev'; choose from train, test, base"):
        measure(QUIET, Wish(data, split="dev"))
    (tmp_path / ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(BenchError, match="download it again"):
        read(tmp_path)
    result = CliRunner().invoke(app, ["retail", "--data", str(tmp_path / "nowhere")])
    assert result.exit_code != 0


def test_the_help_says_what_it_is_not() -> None:
    told = CliRunner().invoke(app, ["retail", "--help"]).output
    assert "not its official setting" in " ".join(told.split())


def test_the_page_takes_figures(tmp_path: Path) -> None:
    page = (ROOT / "docs" / PAGE).read_text()
    (tmp_path / PAGE).write_text(page)
    put(tmp_path / PAGE, "| new |", MARKS)
    before, _, rest = page.partition(MARKS[0])
    assert (tmp_path / PAGE).read_text() == f"{before}{MARKS[0]}\n| new |\n{MARKS[1]}{rest.partition(MARKS[1])[2]}"
    for name in ("retail_solved", "retail_state", "retail_told"):
        assert f"`{name}`" in page


def test_the_project_has_the_policy_and_the_sixteen_tools(tmp_path: Path) -> None:
    project = load_project(write_project(tmp_path / "project", f"# Rules\n\n- {RULES}: é\n"), ())
    agent = project.agent(AGENT)
    assert agent.instructions == f"# Rules\n\n- {RULES}: é\n"
    assert len(agent.tools) == len(TOOLS) == 16
    assert HAND_OVER in agent.escalation
    assert project.policy_of(agent).document.tools.allowed(AGENT) == set(agent.tools)
    assert GUARD.is_file()


@pytest.fixture
def kits(tmp_path: Path) -> Iterator[AgentRuntimes]:
    live = LiveProject(write_project(tmp_path / "project", RULES), ())
    return AgentRuntimes(live, lambda policy: Guard(unhurried(policy)), lambda project: ToolHosts(project.tools))  # type: ignore[return-value]


async def test_the_agents_tools_work_on_the_shop_in_processes_of_their_own(kits: AgentRuntimes, tmp_path: Path) -> None:
    database = tmp_path / "data" / FILE
    renew(database, IMAGE)
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = sql_journal(url, poll_s=0.01)
    agent = LiveProject(tmp_path / "project", ()).current().agent(AGENT)
    asked = "I am ann.poe@example.com. Cancel #W2 and #W1."
    created = ev.RunCreated(agent=AGENT, session_id="s", input=asked, budget=agent.budget.budget())
    run = (await journal.create(created)).run
    model = ScriptedChatModel(
        [
            calls(("find_user_id_by_email", {"email": "ann.poe@example.com"})),
            calls(("cancel_pending_order", {"order_id": "#W2", "reason": "no longer needed"})),
            calls(("cancel_pending_order", {"order_id": "#W1", "reason": "no longer needed"})),
            text("Order #W1 is cancelled."),
        ]
    )
    watch, tracing = InterruptWatch(reader(url), 60.0), Tracing(TracerProvider(shutdown_on_exit=False))
    settings = WorkerConfig(poll_s=0.01)
    worker = Worker(journal, kits, model, "fake", watch, LocalDeltas(), tracing, database.parent, config=settings)
    working = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(120):
            while not run.status.terminal:
                await journal.wait(run.id, run.last_seq, 30)
                run = await journal.get("default", run.id)
    finally:
        worker.drain()
        await working
        await kits.close()
        await journal.close()
    assert (run.status, text_of(run.output or [])) == ("succeeded", "Order #W1 is cancelled.")
    assert state(database)["orders", "#W1"]["status"] == "cancelled"
    said = [message.text for message in model.requests[-1].messages]
    assert "ann_poe_1" in said
    assert any("its status is 'delivered'" in each for each in said)
    assert said[0] == RULES


@pytest.mark.slow
def test_the_data_sets_own_right_actions_run() -> None:
    try:
        found = read(ROOT / DATA)
    except BenchError as missing:
        pytest.skip(str(missing))
    made = image(found.shop)
    assert {name: len(ids) for name, ids in found.splits.items()} == {"train": 74, "test": 40, "base": 114}
    golds = [replay(made, task.actions) for task in found.split("test")]
    assert sum(not gold.changed for gold in golds) == 4
    # Two kinds of action are wrong in the set itself: people that aren't there, and an order that is still pending.
    refused = {words.split(":")[0] for gold in golds for words in gold.refused}
    assert refused == {"find_user_id_by_email", "find_user_id_by_name_zip", "exchange_delivered_order_items"}
