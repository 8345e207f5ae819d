"""The command line in processes of its own, against the API on a real HTTP server."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from agent.models.answer_chunks import Turn, calls, text
from agent.run.budgets import TenantBudgets
from agent.store.backend import Reserved
from agent.testing.fakes import AnsweringChatModel
from agent.testing.platform import Platform, project_of
from flightloop import Flightloop
from flightloop import events as ev
from flightloop.chat import ChatRequest, FunctionCall, ToolCall
from flightloop.cli.live import follow
from flightloop.cli.render import moment
from flightloop.errors import ConnectionFailed
from flightloop.runs import Budget, ProjectInfo, Run, RunStatus, StopReason
from flightloop.tool import tool, tool_of
from flightloop.usage import Amounts
from guardrails.policy import parse_policy
from tests.console import free_port
from tests.sdk.conftest import asks_for_refund, plan, project, refund, spec

PROGRAM = "from flightloop.cli import main; main()"
ASKED = {"note": " ".join(["so it is"] * 60), "order": "A-1"}


@tool(effect="pure", returns_untrusted=True)
def find_note() -> str:
    """Finds a note."""
    return "ring twice"


@pytest.fixture
def environ(platform: Platform) -> dict[str, str]:
    return {
        **os.environ,
        "FLIGHTLOOP_URL": platform.url,
        "FLIGHTLOOP_API_KEY": platform.api_key,
        "PYTHONPATH": str(Path(__file__).parents[2] / "sdk"),
        "COLUMNS": "200",
    }


@pytest.fixture
def flightloop(environ: dict[str, str], tmp_path: Path):
    def run(*arguments: str, program: str = PROGRAM, **options) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *arguments]
        given = {"cwd": tmp_path, "env": environ, "capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(command, check=False, **given)

    return run


def test_run_prints_each_step_and_the_answer(flightloop) -> None:
    done = flightloop("run", "Where is it?", "--agent", "support")
    assert done.returncode == 0, done.stderr
    assert "plan" in done.stdout
    assert "All done." in done.stdout
    assert "succeeded" in done.stdout


def test_a_person_approves_from_the_command_line(platform: Platform, client: Flightloop, flightloop) -> None:
    platform.model.answer = asks_for_refund
    run = client.runs.create(agent="support", input="Refund A-1", subject="17")
    for event in client.runs.stream(run.id):
        if isinstance(event, ev.ApprovalRequested):
            approval = event.approval_id
            break
    waiting = flightloop("approvals").stdout
    assert approval in waiting
    assert "on behalf of 17" in waiting
    assert 'order = "A-1"' in waiting  # behind however much
    assert f"{run.id} · a refund needs a person · until " in waiting
    assert flightloop("approve", approval, "--reason", "fine").stdout.startswith(f"{approval} approved")
    client.runs.wait(run.id, timeout_s=20)
    shown = flightloop("show", run.id).stdout
    assert "refund" in shown
    assert "refunded" in shown
    assert "ask    refund waits for you: a refund needs a person\n" in shown
    assert "person approved by key:default: fine\n" in shown
    again = flightloop("deny", approval)
    assert again.returncode == 1
    assert re.fullmatch(rf"flightloop: approval {approval} is already approved \(request \S+\)\n", again.stderr)


def test_a_key_of_another_platform_is_told_with_the_server_and_where_the_key_is_from(
    environ: dict[str, str], flightloop, platform: Platform, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("of another platform\n")
    refused = flightloop("runs", env={**environ, "FLIGHTLOOP_API_KEY": "", "FLIGHTLOOP_HOME": str(tmp_path)})
    asked = f"asked {platform.url} with the key of {tmp_path}/key"
    told = f"unknown API key ({asked}); if the platform runs elsewhere, set FLIGHTLOOP_URL"
    assert re.fullmatch(rf"flightloop: {re.escape(told)} \(request \S+\)\n", refused.stderr)


def stumble(platform: Platform, run: Run) -> None:
    """A tool raises, though it was tried three times."""
    call = ToolCall(id="c1", function=FunctionCall(name="find", arguments="{}"))
    told = "KeyError: 'A-1'"
    traceback = f'  File "tools.py", line 4, in find\n    orders[number]\n\x1b]0;owned\x07{told}'
    platform.write(
        run.id,
        ev.CallsDecided(calls=[call], model=ev.ModelCall(model="m")),
        ev.ToolResult(call_id="c1", tool="find", ok=False, error=told, traceback=traceback, tries=3),
        ev.RunEnded(status=RunStatus.FAILED, stop_reason=StopReason.ERROR),
    )


def test_show_tells_where_a_tool_raised(platform: Platform, client: Flightloop, flightloop) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="Find it.")
    stumble(platform, run)
    done = flightloop("show", run.id)
    assert done.returncode == 0, done.stderr
    assert "result KeyError: 'A-1'  0.00 s, 3 tries" in done.stdout
    assert 'File "tools.py", line 4, in find' in done.stdout
    assert "\x1b" not in done.stdout


def test_show_tells_that_a_run_was_erased(platform: Platform, client: Flightloop, flightloop) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="I am Jane.", subject="cust-1")
    stumble(platform, run)
    client.erase(subject="cust-1")
    done = flightloop("show", run.id)
    assert done.returncode == 0, done.stderr
    assert "input  [erased]" in done.stdout
    assert "erased texts, arguments and results, at a person's request" in done.stdout
    assert "Jane" not in done.stdout


def test_a_broken_project_is_told_before_a_run(platform: Platform, flightloop) -> None:
    now = datetime.now(UTC)
    platform.project.status = ProjectInfo(loaded_at=now, problem="agents/a.yaml:3: not YAML", broken_since=now)
    for command in (("run", "Where is it?", "-a", "support"), ("chat",)):
        done = flightloop(*command, input="")
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("warning: the project's files are invalid since ")
        assert "agents/a.yaml:3: not YAML" in done.stderr
    platform.project.status = ProjectInfo(loaded_at=now)
    assert flightloop("run", "Where is it?", "-a", "support").stderr == ""


def test_stop_all_latches_and_clear_lifts(client: Flightloop, flightloop) -> None:
    assert flightloop("stop").stdout == "nothing is stopped\n"
    assert "stopped" in flightloop("stop", "--all", "--reason", "drill").stdout
    assert flightloop("run", "hello").returncode == 1
    latched = client.interrupts.list().data[0]
    assert latched.reason == "drill"
    assert latched.id in flightloop("stop").stdout
    assert "flightloop resume" in flightloop("stop", "--clear", latched.id).stdout
    assert client.interrupts.list().data == []


def test_stop_one_agent_session_or_run(platform: Platform, client: Flightloop, flightloop) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="Hello", session_id="s1")
    assert "interrupted" in flightloop("stop", run.id).stdout
    flightloop("stop", "--agent", "support")
    flightloop("stop", "--session", "s1")
    assert {(item.scope, item.target) for item in client.interrupts.list().data} == {
        ("run", run.id),
        ("agent", "support"),
        ("session", "s1"),
    }
    refused = flightloop("stop", run.id, "--all")
    assert refused.returncode == 1
    assert "one of" in refused.stderr


def test_a_question_is_shown_whole_and_told_how_to_agree_to(environ: dict[str, str], flightloop) -> None:
    def model(request: ChatRequest) -> Turn:
        if request.response_format is not None:
            return plan("find_note", "refund")
        if all(message.role != "tool" for message in request.messages):
            return calls(("find_note", {}))
        return text("Refunded.") if "12.5" in request.messages[-1].text else calls(("refund", ASKED))

    policy = parse_policy('name: p\nversion: "1"\ntools: {allow: {"*": ["*"]}, lock_to_plan: confirm}\n')
    desk = spec().model_copy(update={"tools": ("find_note", "refund")})
    with Platform(project_of([desk], [find_note, refund], [policy]), AnsweringChatModel(model)) as running:
        server = {"FLIGHTLOOP_URL": running.url, "FLIGHTLOOP_API_KEY": running.api_key, "COLUMNS": "900"}
        command = ("run", "-a", "support", "--subject", "17", "--session", "it's 1")
        done = flightloop(*command, "Refund A-1", env={**environ, **server})
        assert ASKED["note"] in done.stdout, done.stderr
        *_, last = done.stdout.splitlines()
        assert shlex.split(last) == ["to", "agree:", "flightloop", *command, "yes"]
        run_id = done.stdout.split()[0]
        assert ASKED["note"] in flightloop("show", run_id, env={**environ, **server}).stdout
        assert "Refunded." in flightloop(*command, "yes", env={**environ, **server}).stdout


@pytest.mark.parametrize("arguments", [("",), ("--agent", "")])
def test_an_empty_name_is_an_error_instead_of_a_list_of_stops(flightloop, arguments: tuple[str, ...]) -> None:
    refused = flightloop("stop", *arguments)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "is empty: nothing was stopped" in refused.stderr


def test_a_name_that_the_project_has_not_is_stopped_and_told(client: Flightloop, flightloop) -> None:
    assert "has no agent" not in flightloop("stop", "--agent", "support").stdout
    assert "has no agent calculator (it has support" in flightloop("stop", "--agent", "calculator").stdout
    assert {item.target for item in client.interrupts.list().data} == {"support", "calculator"}


def test_a_stopped_run_goes_on_and_is_followed(platform: Platform, client: Flightloop, flightloop) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="Hello")
    assert f"flightloop resume {run.id}" in flightloop("stop", run.id).stdout
    platform.work()
    done = flightloop("resume", run.id, "--steps", "30", "--tokens", "9000")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("resumed by key:default\n")
    assert "All done." in done.stdout
    resumed = client.runs.get(run.id)
    assert (resumed.budget.steps, resumed.budget.tokens) == (30, 9000)
    refused = flightloop("resume", run.id)
    assert (refused.returncode, "cannot be resumed" in refused.stderr) == (1, True)


def test_cancel_ends_a_run(platform: Platform, client: Flightloop, flightloop) -> None:
    platform.rest()
    run = client.runs.create(agent="support", input="Hello")
    assert flightloop("cancel", run.id).stdout == f"{run.id} cancelled\n"
    assert client.runs.get(run.id).status is RunStatus.CANCELLED


def test_whoever_loses_the_server_is_told_where_the_run_is() -> None:
    with (
        Flightloop(f"http://127.0.0.1:{free_port()}", "key", retries=0) as client,
        pytest.raises(ConnectionFailed) as lost,
    ):
        follow(client, Console(), "run_1")
    assert lost.value.message.endswith("is the server up? The run continues on the server: flightloop show run_1")


def test_a_moment_of_another_day_says_which() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert moment(now, now) == f"{now.astimezone():%H:%M}"
    later = now + timedelta(days=1)
    assert moment(later, now) == f"{later.astimezone():%d %b %H:%M}"


def test_chat_keeps_its_session(client: Flightloop, flightloop) -> None:
    done = flightloop("chat", "--agent", "support", input="first\nsecond\n\n")
    assert done.returncode == 0, done.stderr
    runs = client.runs.list().data
    assert len(runs) == 2
    assert len({run.session_id for run in runs}) == 1


def test_without_an_agent_the_only_one_or_the_usual_one_is_meant(
    platform: Platform, client: Flightloop, flightloop
) -> None:
    support, clerk, boss = map(spec, ("support", "clerk", "boss"))
    for agents, meant in (([clerk], "clerk"), ([boss, clerk, support], "support")):
        platform.project.project = project(*agents)
        for command, said in ((("run", "Hello"), None), (("chat",), "Hello\n\n")):
            done = flightloop(*command, input=said)
            assert done.returncode == 0, done.stderr
            assert client.runs.list().data[0].agent == meant
    platform.project.project = project(boss, clerk)
    for command in (("run", "Hello"), ("chat",)):
        done = flightloop(*command, input="")
        told = "flightloop: the project has the agents boss, clerk; choose one with -a NAME\n"
        assert (done.returncode, done.stderr) == (1, told)


def only_plans(request: ChatRequest) -> Turn:
    """The model begins, and goes no further."""
    return plan("find") if request.response_format is not None else [asyncio.Event().wait()]


def test_ctrl_c_leaves_the_run_at_work_and_says_so(platform: Platform, client: Flightloop, environ, tmp_path) -> None:
    platform.model.answer = only_plans
    # Whoever starts the tests in the background has them ignore it.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", heard + PROGRAM, "run", "Hello"]
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert any("plan" in line for line in process.stdout)  # it follows the run now
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    [run] = client.runs.list().data
    assert process.returncode == 130
    assert f"flightloop stop {run.id}" in rest
    assert not run.status.terminal


def test_runs_lists_pages(client: Flightloop, flightloop) -> None:
    assert flightloop("runs").stdout == "no runs\n"
    ids = [client.runs.create(agent="support", input=f"number {index}").id for index in range(3)]
    listed = flightloop("runs", "--limit", "2").stdout
    assert f"more: --after {ids[1]}" in listed
    assert ids[0] in flightloop("runs", "--limit", "2", "--after", ids[1]).stdout


def test_usage_tells_what_is_left(platform: Platform, client: Flightloop, flightloop) -> None:
    run = client.runs.create(agent="support", input="Hello")
    client.runs.wait(run.id, timeout_s=20)
    platform.bound(TenantBudgets(Budget(tokens=1_000_000, steps=1, cost=0.5)))
    reserved = Reserved("cmpl_1", "default", None, "api_1", Amounts(tokens=250_000))
    platform.do(platform.backend.write(lambda tx: tx.save_reservation(reserved)))
    window = client.usage().tenant
    since, until = window.since, window.until
    done = flightloop("usage", "--session", run.session_id)
    assert done.returncode == 0, done.stderr
    tenant, session = done.stdout.split("\n\n")
    rows = [line.split() for line in tenant.splitlines()]
    assert " ".join(rows[0]) == f"tenant {since.astimezone():%d %b %H:%M} to {until.astimezone():%d %b %H:%M}"
    assert rows[1] == ["used", "reserved", "limit", "left"]
    assert rows[2] == ["steps", "2", "0", "1", "0"]
    assert rows[3] == ["tokens", "0", "250,000", "1,000,000", "750,000"]
    assert (rows[4][0], rows[4][-1]) == ("seconds", "none")  # how long a step takes is the machine's affair
    assert rows[5] == ["cost", "€", "0.0000", "€", "0.0000", "€", "0.5000", "€", "0.5000"]
    assert session.startswith(f"session {run.session_id}\n")
    assert "session" not in flightloop("usage").stdout


@pytest.mark.parametrize(
    "arguments", [("run", "x", "--agent", "nobody"), ("show", "nowhere"), ("stop", "--clear", "int_0")]
)
def test_an_error_is_one_line(flightloop, arguments: tuple[str, ...]) -> None:
    done = flightloop(*arguments)
    assert done.returncode == 1
    assert re.match("flightloop: (there is )?no ", done.stderr)
    assert done.stderr.count("\n") == 1


def test_a_request_that_is_none_is_one_line(flightloop) -> None:
    done = flightloop("run", "x", "--agent", "")
    assert (done.returncode, done.stderr) == (1, "flightloop: agent: String should have at least 1 character\n")


def test_a_server_that_is_down_is_one_line(flightloop) -> None:
    done = flightloop("--url", f"http://127.0.0.1:{free_port()}", "runs")
    assert done.returncode == 1
    assert "is the server up?" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_its_extra_the_command_says_what_to_install(flightloop) -> None:
    hidden = "import sys; sys.modules['typer'] = None; " + PROGRAM
    done = flightloop("runs", program=hidden)
    assert done.returncode == 1
    assert "pip install 'flightloop[cli]'" in done.stderr


def test_new_writes_a_project_whose_parts_fit(flightloop, tmp_path: Path) -> None:
    done = flightloop("new", "notes")
    assert done.returncode == 0, done.stderr
    agent = yaml.safe_load((tmp_path / "notes/agents/notes.yaml").read_text())
    policy = yaml.safe_load((tmp_path / "notes/policies/notes.yaml").read_text())
    scope: dict[str, object] = {}
    exec(compile((tmp_path / "notes/tools.py").read_text(), "tools.py", "exec"), scope)
    declared = {found.spec.name for item in scope.values() if callable(item) and (found := tool_of(item))}
    assert set(agent["tools"]) == declared == set(policy["tools"]["allow"]["notes"])
    assert agent["policy"] == policy["name"] == "notes"
    assert "{{" not in (tmp_path / "notes/tasks/first.jsonl").read_text()
    assert flightloop("new", "notes").returncode == 1
    assert "is not a valid agent name" in flightloop("new", "9lives").stderr
