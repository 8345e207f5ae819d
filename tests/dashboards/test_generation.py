"""The page of a run that generated code: a scripted model, the project ``examples/coder``, tools in the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from streamlit.testing.v1 import AppTest

from agent.models.answer_chunks import text as words
from agent.project.agent_spec import AgentSpec
from agent.project.project import load_project
from agent.testing.fakes import AnsweringChatModel
from agent.testing.platform import Platform, project_of
from dashboards.generation import attempts_of, generated, line_of, verdict
from dashboards.steps import steps_of
from flightloop import Flightloop
from flightloop.code_result import CodeAttempt, CodeResult, result_text
from flightloop.content import TextPart
from flightloop.runs import Run, RunStatus
from tests.dashboards.test_pages import text
from tools.config import ToolsConfig
from tools.host import ToolHosts

Show = Callable[..., AppTest]
CODER = Path(__file__).parents[2] / "examples" / "coder"
PROMPT = "Write a function `double(x)` that doubles a number.\n>>> double(2)\n4\n>>> double(-1)\n-2\n"
WRONG = "```python\ndef double(x):\n    return x + 2\n```"
BROKEN = "```python\ndef double(x:\n    return 2 * x\n```"
EVAL = "```python\ndef double(x):\n    return eval(f'2 * {x}')  # <b>**x**</b>\n```"
TESTS = "assert double(3) == 6\nassert double(0) == 0\n"


class Made(NamedTuple):
    platform: Platform
    run: Run
    refused: Run
    """A run that returns no program."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    answers = iter([WRONG, TESTS, BROKEN, EVAL, EVAL, TESTS, EVAL])
    model = AnsweringChatModel(lambda request: words(next(answers)))
    with (
        Platform(
            load_project(CODER, ()),
            model,
            data=tmp_path_factory.mktemp("data"),
            hosts=lambda project: ToolHosts(["tools.builtin"], ToolsConfig(spare=0)),
        ) as platform,
        Flightloop(platform.url, platform.api_key) as client,
    ):
        first = client.code.generate(PROMPT, security_level="low")
        second = client.code.generate(PROMPT, security_level="high", rounds=2)
        yield Made(platform, client.runs.get(first.run_id), client.runs.get(second.run_id))


@pytest.fixture
def platform(made: Made) -> Platform:
    return made.platform


def test_code_findings_and_attempts_are_shown(show: Show, made: Made) -> None:
    app = show("run", id=made.run.id)
    assert [item.label for item in app.tabs] == ["solution\\.py", "test\\_solution\\.py"]
    program = app.code[0]
    assert (program.value.splitlines()[0], program.language) == ("def double(x):", "python")
    said = text(app)
    assert "A program is returned, with 1 finding" in said
    for told in ("critical", "line 2", "CWE-95", "Text that is not constant is run as code.", "<b>Fix</b>"):
        assert told in said
    for number, told in enumerate(("double(-1) should return -2, but it returned 1", "never closed", "Accepted"), 1):
        assert f"{number} · {'repair' if number == 2 else 'write'}" in said
        assert told in said
    assert "1 of 4 tests" in said
    assert said.count(">returned<") == 1
    assert "2 tests were written by the model" in said
    assert "security_level" not in "".join(item.value for item in app.markdown)


def test_what_a_program_says_is_not_read_as_markup(show: Show, made: Made) -> None:
    said = text(show("run", id=made.run.id))
    assert "&lt;b&gt;**x**&lt;/b&gt;" in said  # the line that a finding quotes
    assert "<b>**" not in said


def test_a_run_that_returns_nothing_says_what_stopped_it(show: Show, made: Made) -> None:
    app = show("run", id=made.refused.id)
    said = text(app)
    assert "No program is returned" in said
    assert "2 programs were written; the best one has 1 open problem: line 2" in said
    assert "In program 1" in said
    assert said.count("CWE-95") == 2
    assert ">returned<" not in said
    assert len(app.tabs) == 0
    assert EVAL.splitlines()[2] in "\n".join(item.value for item in app.code)


def test_the_chat_shows_a_generation(show: Show, made: Made) -> None:
    app = show("chat", session=made.run.session_id, agent="coder")
    assert len(app.tabs) == 2
    assert "A program is returned, with 1 finding" in text(app)


def test_programs_are_those_of_the_attempts(made: Made) -> None:
    steps = steps_of(made.platform.events(made.run.id))
    result = generated(made.run, steps)
    assert result is not None
    found = attempts_of(result, steps)
    assert [(one.number, one.attempt.kind, one.returned) for one in found] == [
        (1, "write", False),
        (2, "repair", False),
        (3, "write", True),
    ]
    assert "x + 2" in found[0].code
    assert [one.cwe for one in found[2].findings] == [95]
    assert [one.code for one in attempts_of(result, steps[:2])] == ["", "", ""]  # a part of the steps says nothing


def test_other_runs_made_no_code(made: Made) -> None:
    other = made.run.model_copy(update={"output": [TextPart(text="Hello")]})
    steps = steps_of(made.platform.events(made.run.id))
    assert generated(other, steps) is None
    assert generated(made.run.model_copy(update={"status": RunStatus.FAILED}), steps) is None


def test_a_report_that_a_model_wrote_is_not_the_platforms(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = CodeAttempt(kind="write", compiled=True, passed=5)
    feigned = CodeResult(returned=True, language="python", security_level="high", attempts=[attempt])
    model = AnsweringChatModel(lambda request: words(result_text(feigned)))
    with (
        Platform(project_of([AgentSpec(name="helper", instructions="Help.")]), model) as platform,
        Flightloop(platform.url, platform.api_key) as client,
    ):
        monkeypatch.setenv("FLIGHTLOOP_URL", platform.url)
        run = client.runs.wait(client.runs.create(agent="helper", input="Hello").id, timeout_s=60)
        assert run.output_text == result_text(feigned)
        assert "A program is returned" not in text(show("run", id=run.id))


@pytest.mark.parametrize(
    ("fields", "level", "headline"),
    [
        ({"returned": True}, "ok", "A program is returned, with nothing open"),
        ({"returned": True, "stopped": "why"}, "warning", "The best program is returned, with open problems"),
        ({"returned": False, "stopped": "why"}, "critical", "No program is returned"),
    ],
)
def test_the_verdict_of_a_result(fields: dict[str, object], level: str, headline: str) -> None:
    result = CodeResult.model_validate({"language": "python", "security_level": "low", **fields})
    assert verdict(result)[:2] == (level, headline)


def test_lines_of_a_program() -> None:
    assert [line_of("a\n  b\n", number) for number in (0, 1, 2, 3)] == ["", "a", "b", ""]
    assert line_of("a = '\u2028'\nb\x0c\nc\n", 3) == "c"
