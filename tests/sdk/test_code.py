"""Wire types of code generation, and the client's part of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from flightloop import CodeGenerator, Flightloop
from flightloop.cli.app import app
from flightloop.code_result import CodeAttempt, CodeFile, CodeFinding, CodeResult, parsed_result, result_text
from flightloop.code_task import CodeTask, parsed_task, task_text
from flightloop.errors import GenerationFailed, InvalidRequest

texts = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("`\n\t"), max_size=200)


@given(texts)
def test_a_task_is_read_as_it_was_written(prompt: str) -> None:
    task = CodeTask.model_validate(
        {"security_level": "high", "constraints": {"imports": [], "signature": "def f(x: int) -> int"}, "rounds": 3}
    )
    assert parsed_task(task_text(task, prompt)) == (task, prompt)


@pytest.mark.parametrize("text", ["Write a function.", '{"a": 1} is a dict; print it', '{"language": "cobol"}\nx', "{"])
def test_any_other_input_is_a_prompt(text: str) -> None:
    assert parsed_task(text) == (CodeTask(), text)


def result(code: str, tests: str = "assert True\n") -> CodeResult:
    return CodeResult.model_validate(
        {
            "returned": True,
            "language": "python",
            "security_level": "low",
            "files": [CodeFile(path="solution.py", text=code)],
            "tests": [CodeFile(path="test_solution.py", text=tests)],
            "findings": [CodeFinding(rule="r", cwe=78, severity="high", line=1, reason="`x`")],
            "attempts": [CodeAttempt(kind="write", compiled=True, passed=2)],
            "unverified": ["something"],
        }
    )


@given(texts, texts)
def test_a_result_is_read_as_it_was_written(code: str, tests: str) -> None:
    made = result(code.rstrip() + "\n", tests.rstrip() + "\n")
    assert parsed_result(result_text(made), "run_1") == made.model_copy(update={"run_id": "run_1"})


def test_a_refusal_is_no_result() -> None:
    with pytest.raises(ValueError, match="no report"):
        parsed_result("I can't help with that.")


class Server(httpx.BaseTransport):
    """Answers ``POST /v1/runs`` with a run that has ended; keeps what was sent."""

    def __init__(self, output: str | None, status: str = "succeeded") -> None:
        self._output, self._status = output, status
        self.sent: dict[str, Any] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent = json.loads(request.read())
        run = {
            "id": "run_1",
            "agent": "coder",
            "session_id": "s",
            "status": self._status,
            "input": "x",
            "output": self._output,
            "error": None if self._output else {"code": "budget_tokens", "message": "no tokens are left"},
            "budget": {},
            "created_at": "2026-01-01T00:00:00Z",
        }
        return httpx.Response(201, json=run)


def client(server: Server) -> Flightloop:
    return Flightloop("http://test", "key", transport=server)


def test_a_generator_sends_its_level_and_the_constraints() -> None:
    server = Server(result_text(result("x = 1\n")))
    generator = CodeGenerator(languages=["python", "java"], security_level="high", client=client(server))
    made = generator.generate("Write it.", constraints={"network": False})
    assert (made.code, made.run_id) == ("x = 1\n", "run_1")
    task, prompt = parsed_task(server.sent["input"][0]["text"])
    assert (task.security_level, task.language, task.constraints.network, prompt) == (
        "high",
        "python",
        False,
        "Write it.",
    )
    generator.generate("Write it.", language="java")
    assert parsed_task(server.sent["input"][0]["text"])[0].language == "java"


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("Write a Java class `Lift`.", "java"),
        ("In Java 17, sum a list", "java"),
        ("Write a function in JavaScript style.", "python"),
        ("Translate this Java method to Python.", "python"),
        ("Write a function.", "python"),
    ],
)
def test_the_language_is_the_one_that_the_prompt_names(prompt: str, language: str) -> None:
    server = Server(result_text(result("x = 1\n")))
    client(server).code.generate(prompt)
    assert parsed_task(server.sent["input"][0]["text"])[0].language == language
    both = CodeGenerator(languages=["python", "java"], client=client(server))
    both.generate(prompt)
    assert parsed_task(server.sent["input"][0]["text"])[0].language == language
    CodeGenerator(languages=["python"], client=client(server)).generate(prompt)
    assert parsed_task(server.sent["input"][0]["text"])[0].language == "python"


def test_wrong_arguments_are_refused_before_anything_is_sent() -> None:
    server = Server("")
    with pytest.raises(InvalidRequest, match="cobol"):
        CodeGenerator(languages=["cobol"], client=client(server))
    with pytest.raises(InvalidRequest, match="paranoid"):
        CodeGenerator(security_level="paranoid", client=client(server))
    with pytest.raises(InvalidRequest, match="java"):
        CodeGenerator(client=client(server)).generate("x", language="java")
    for constraints in ({"netwrok": False}, {"growth": "O(n)"}, {"max_line": 3}):
        with pytest.raises(InvalidRequest):
            client(server).code.generate("x", constraints=constraints)
    assert server.sent == {}


def test_a_run_without_a_result_is_an_error() -> None:
    with pytest.raises(GenerationFailed, match="run_1 is failed without a program: no tokens are left"):
        client(Server(None, "failed")).code.generate("x")


def test_a_prompt_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prompt").write_bytes(b"Write \xff")
    done = CliRunner().invoke(app, ["code", f"@{tmp_path / 'prompt'}"])
    assert isinstance(done.exception, InvalidRequest)
    assert "is not UTF-8 text" in str(done.exception)
