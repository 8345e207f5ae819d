"""The procedure ``code``: a scripted model, the project ``examples/coder``, and real tools in the sandbox."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.config import load_settings
from agent.loop.agent_runtime import AgentRuntime
from agent.loop.inline_runner import InlineRunner
from agent.models.answer_chunks import text
from agent.project.project import Project, load_project
from agent.run.journal import all_events
from agent.serve.factories import make_guards
from agent.store import memory_journal
from agent.testing.fakes import ScriptedChatModel
from flightloop.code_result import CodeResult, parsed_result
from flightloop.code_task import CodeTask, task_text
from flightloop.events import CallsDecided, Planned, RunCreated, RunEvent, ToolIntent
from flightloop.runs import Run, RunStatus
from tools.config import ToolsConfig
from tools.host import ToolHosts

pytestmark = pytest.mark.asyncio(loop_scope="module")
JDK = pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK")
CODER = Path(__file__).parents[3] / "examples" / "coder"
PROMPT = "Write a function `double(x)` that doubles a number.\n>>> double(2)\n4\n>>> double(-1)\n-2\n"
GOOD = "```python\ndef double(x):\n    return 2 * x\n```"
WRONG = "Here it is:\n```python\ndef double(x):\n    return x + 2\n```"
BROKEN = "```python\ndef double(x:\n    return 2 * x\n```"
TESTS = "assert double(3) == 6\nassert double(0) == 0\nassert double(4) == 9\n"
ADVICE = "give examples, such as f(1) == 2"
EVAL = "```python\ndef double(x):\n    return eval(f'2 * {x}')\n```"


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project(CODER, ())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hosts() -> AsyncIterator[ToolHosts]:
    async with ToolHosts(["tools.builtin"], ToolsConfig(spare=0)) as made:
        yield made


class Generator:
    """Generates with a scripted model; keeps the latest run and its events."""

    def __init__(self, project: Project, hosts: ToolHosts, data: Path) -> None:
        self._project, self._hosts, self._data = project, hosts, data
        self.run: Run
        self.events: list[RunEvent]
        self.model: ScriptedChatModel

    async def __call__(
        self, task: dict[str, object], prompt: str, *answers: str, budget: dict[str, float] | None = None
    ) -> CodeResult:
        agent, journal = self._project.agent("coder"), memory_journal()
        self.model = ScriptedChatModel([text(answer) for answer in answers])
        guard = make_guards(load_settings(home=self._data), self.model, "fake")(self._project.policy_of(agent))
        runner = InlineRunner(journal, lambda run: AgentRuntime(agent, guard, self._hosts), self._data, "test")
        said = task_text(CodeTask.model_validate(task), prompt)
        created = RunCreated.model_validate(
            {"agent": "coder", "session_id": "s", "input": said, "budget": budget or agent.budget.budget()}
        )
        self.run = (await runner.run(created, self.model, "fake")).run
        self.events = await all_events(journal, "default", self.run.id)
        assert self.run.status is RunStatus.SUCCEEDED, self.run.error
        return parsed_result(self.run.output_text, self.run.id)

    @property
    def decided(self) -> list[CallsDecided]:
        return [event for event in self.events if isinstance(event, CallsDecided)]


@pytest.fixture
def generate(project: Project, hosts: ToolHosts, tmp_path: Path) -> Generator:
    return Generator(project, hosts, tmp_path)


async def test_two_programs_that_agree_are_enough(generate: Generator) -> None:
    result = await generate({"security_level": "high"}, PROMPT, GOOD, TESTS, GOOD)
    assert result.returned, result.stopped
    assert result.code == "def double(x):\n    return 2 * x\n"
    assert [(one.kind, one.passed, one.failed) for one in result.attempts] == [("write", 4, 1), ("write", 4, 1)]
    assert "assert double(2) == 4" in result.tests[0].text
    assert "assert double(4) == 8" in result.tests[0].text  # what both say, not what the model's test says
    assert result.findings == []
    assert result.run_id == generate.run.id
    planned = next(event for event in generate.events if isinstance(event, Planned))
    assert planned.tools == ["compile_code", "scan_code", "run_tests"]
    calls = [event.tool for event in generate.events if isinstance(event, ToolIntent)]
    assert sorted(calls) == ["compile_code"] * 2 + ["run_tests"] * 3 + ["scan_code"] * 2
    assert (generate.run.usage.steps, generate.run.usage.model_calls) == (5, 3)
    assert [request.temperature for request in generate.model.requests] == [0.0, 0.0, 0.6]


async def test_a_failed_example_is_repaired(generate: Generator) -> None:
    result = await generate({}, PROMPT, WRONG, TESTS, GOOD, GOOD)
    assert [one.kind for one in result.attempts] == ["write", "repair", "write"]
    assert result.attempts[0].problem == "double(-1) should return -2, but it returned 1"
    assert "double(-1) should return -2" in generate.model.requests[2].messages[-1].text
    assert generate.decided[2].text == "repair: double(-1) should return -2, but it returned 1"
    assert result.code.endswith("return 2 * x\n")
    assert result.stopped is None


async def test_a_model_that_repeats_itself_is_not_asked_for_repairs_again(generate: Generator) -> None:
    result = await generate({"rounds": 5}, PROMPT, WRONG, TESTS, WRONG, WRONG, GOOD, GOOD)
    assert [one.kind for one in result.attempts] == ["write", "repair", "write", "write"]
    assert (result.code.split()[-3:], result.stopped) == (["2", "*", "x"], None)


async def test_programs_and_tests_begin_on_a_line_of_their_own(generate: Generator) -> None:
    await generate({}, PROMPT, GOOD, TESTS, GOOD)
    openings = [request.flightloop.opening for request in generate.model.requests]
    assert openings == ["```python\n", "```python\nassert double(", "```python\n"]
    stub = (
        'import math\n\n\ndef double(x: int, *, by: int = 2) -> int:\n    """Multiplies.\n\n    >>> double(2)\n    4\n'
    )
    await generate({"rounds": 1}, stub + '    """\n', "```python\ndef double(x, *, by=2):\n    return by * x\n```")
    assert generate.model.requests[0].flightloop.opening == "```python\ndef double(x: int, *, by: int=2) -> int:\n"


async def test_a_fresh_program_is_told_which_examples_failed(generate: Generator) -> None:
    result = await generate({"rounds": 3}, PROMPT, WRONG, TESTS, WRONG, GOOD)
    assert [one.kind for one in result.attempts] == ["write", "repair", "write"]
    asked = generate.model.requests[-1].messages[-1].text
    assert "- double(-1) must return -2\n" in asked
    assert "double(2) must return" not in asked  # x + 2 passes it
    assert (result.code.split()[-3:], result.stopped) == (["2", "*", "x"], None)


@JDK
async def test_java(generate: Generator) -> None:
    prompt = "Write a static method `twice(int x)` that doubles a number. twice(2) == 4, twice(-1) == -2"
    wrong = "```java\npublic static int twice(int x) {\n    return x + 2;\n}\n```"
    good = "```java\nclass Solution {\n    static int twice(int x) {\n        return 2 * x;\n    }\n}\n```"
    task = {"language": "java", "security_level": "high"}
    result = await generate(task, prompt, wrong, "twice(5) == 10\ntwice(0) == 0", good, good)
    assert (result.returned, result.stopped) == (True, None)
    assert [one.passed for one in result.attempts][1:] == [4, 4]
    assert "check(Solution.twice(2), 4);" in result.tests[0].text


@JDK
async def test_errors_of_java_name_what_is_missing(generate: Generator) -> None:
    prompt = 'Write a static method `flip(String text)` that reverses a text. flip("ab") == "ba"'
    broken = "```java\nclass Solution {\n    static String flip(String text) {\n        return text.reverse();\n}}\n```"
    result = await generate({"language": "java", "rounds": 1}, prompt, broken)
    assert result.stopped is not None
    assert "line 3: cannot find symbol (symbol: method reverse(); location: " in result.stopped


async def test_the_best_program_is_returned_when_rounds_are_used_up(generate: Generator) -> None:
    result = await generate({"rounds": 2}, PROMPT, WRONG, TESTS, BROKEN)
    assert (result.returned, [one.compiled for one in result.attempts]) == (True, [True, False])
    assert result.code.endswith("return x + 2\n")
    assert result.stopped is not None
    assert "1 open problem: double(-1) should return -2" in result.stopped
    strict = await generate({"rounds": 2, "security_level": "high"}, PROMPT, WRONG, TESTS, BROKEN)
    assert (strict.returned, strict.files, strict.tests) == (False, [], [])
    assert strict.stopped == result.stopped


@pytest.mark.parametrize("level", ["low", "medium", "high"])
async def test_levels_differ_in_what_is_repaired(generate: Generator, level: str) -> None:
    result = await generate({"security_level": level}, PROMPT, EVAL, TESTS, EVAL if level == "low" else GOOD)
    assert len(result.attempts) == 2
    if level == "low":
        assert [(one.rule, one.cwe) for one in result.findings] == [("python.code-injection", 95)]
    else:
        assert (" eval(" in generate.model.requests[0].flightloop.never) == (level == "high")
        assert (result.attempts[1].kind, result.findings) == ("repair", [])
        assert "line 2" in result.attempts[0].problem


async def test_nothing_untested_is_returned_at_high(generate: Generator) -> None:
    prompt = "Write a function `shout(text)` that returns the text in upper case with an exclamation mark."
    code = "```python\ndef shout(text):\n    return text.upper() + {}\n```"
    answers = [code.format("'!'"), "no tests", "assert 1", "```\nassert shout('a')\n```", "none", code.format("'?'")]
    result = await generate({"security_level": "high"}, prompt, *answers)
    assert (result.returned, result.files) == (False, [])
    assert result.stopped == f"2 programs were written; no test of the best one is known to be right: {ADVICE}"
    loose = await generate({"security_level": "medium"}, prompt, *answers[:3], answers[-1])
    assert (loose.returned, len(loose.attempts)) == (True, 2)
    assert loose.unverified == [
        "the prompt has no examples, so nothing independent of the model says what is right",
        "no test was run",
    ]


@pytest.mark.parametrize("level", ["medium", "high"])
async def test_one_example_alone_is_not_enough_at_high(generate: Generator, level: str) -> None:
    prompt = "Write a function `join(base, name)` that joins names. join('a', 'b') == 'a/b'"
    code = "```python\ndef join(base, name):\n    return {}\n```"
    answers = [code.format("base"), "no tests", code.format("base + name"), code.format("f'{base}/{name}'")]
    result = await generate({"security_level": level, "rounds": 3}, prompt, *answers)
    assert [one.passed for one in result.attempts] == [0, 0, 1]
    assert result.returned == (level == "medium")
    if level == "high":
        assert (
            result.stopped
            == "3 programs were written; too few examples speak for the best one alone: give at least three"
        )
    else:
        assert result.code.endswith("return f'{base}/{name}'\n")
        assert result.unverified == ["nothing but the prompt's 1 example was tested"]


async def test_a_test_that_sets_up_what_it_needs_counts(generate: Generator) -> None:
    prompt = "Write a function `size(path)` that returns the number of characters of a file."
    code = (
        "```python\ndef size(path):\n    with open(path) as file:\n        return len(file.read())\n\n"
        "print(size('a.txt'))\n```"
    )
    test = (
        "```python\nfrom solution import size\n\ndef test_solution():\n    with open('a', 'w') as file:\n"
        "        file.write('abc')\n"
    )
    wrong, right = test + "    assert size('a') == 4\n```", test + "    assert size('a') == 3\n```"
    result = await generate({"security_level": "high"}, prompt, code, "assert size(path) == 1", wrong, code, right)
    assert (result.returned, result.stopped) == (True, None)
    assert result.tests[0].text.startswith(
        "from solution import size\n\n\ndef test_scenario_1():\n    with open('a', 'w')"
    )
    assert result.unverified[-1] == "1 test was written by the model, and may be wrong like the program"


async def test_constraints_are_checked(generate: Generator) -> None:
    asked = {"imports": [], "signature": "def double(x: int) -> int"}
    bad = "```python\nimport os\n\n\ndef double(x: int) -> int:\n    return 2 * x\n```"
    good = "```python\ndef double(x: int) -> int:\n    return 2 * x\n```"
    result = await generate({"constraints": asked}, PROMPT, bad, TESTS, good, good)
    extension = generate.model.requests[0].flightloop
    assert (extension.opening, extension.never) == ("```python\ndef double(x: int) -> int:\n", [])
    assert result.attempts[0].problem.startswith("line 1: os is not one of the allowed imports")
    assert (result.findings, result.stopped) == ([], None)


async def test_growth_is_measured(generate: Generator) -> None:
    prompt = "Write a function `seen(values)` that returns the values that occur before.\n>>> seen([1, 1])\n[1]\n"
    asked = {"signature": "def seen(values: list[int]) -> list[int]", "growth": "O(n log n)"}
    head = "```python\ndef seen(values: list[int]) -> list[int]:\n"
    slow = head + "    return [v for i, v in enumerate(values) if v in values[:i]]\n```"
    fast = head + (
        "    known, found = set(), []\n    for v in values:\n        if v in known:\n            found.append(v)\n"
        "        known.add(v)\n    return found\n```"
    )
    task = {"constraints": asked, "security_level": "high", "rounds": 5}
    result = await generate(task, prompt, slow, "assert seen([2, 2]) == [2]", slow, fast)
    assert "its time grows like n^" in result.attempts[0].problem
    assert (result.returned, result.stopped) == (True, None)
    assert "known" in result.code


async def test_answers_without_a_program_end_the_run(generate: Generator) -> None:
    result = await generate({}, PROMPT, "I cannot.", "Sorry, no.", "No way.")
    assert (result.returned, result.stopped) == (False, "the model wrote no program")
    assert [event.problem for event in generate.decided] == ["the answer contains no program"] * 3


async def test_a_program_that_ends_early_passes_no_test(generate: Generator) -> None:
    quits = "```python\nimport os\n\n\ndef double(x):\n    os._exit(0)\n```"
    result = await generate({"rounds": 1}, PROMPT, quits)
    assert (result.attempts[0].passed, result.attempts[0].failed) == (0, 2)


@JDK
async def test_java_keeps_its_name_and_values_become_tests(generate: Generator) -> None:
    prompt = 'Write a class Texts with a method `static String flip(String text)`. Texts.flip("ab") == "ba"'
    code = (
        "package a;\n\npublic class Texts {\n    static String flip(String text) {\n"
        "        return new StringBuilder(text).reverse().toString();\n    }\n}\n"
    )
    result = await generate(
        {"language": "java"}, prompt, f"```java\n{code}```", 'flip("xä") == "?"', f"```java\n{code}```"
    )
    assert [file.path for file in (*result.files, *result.tests)] == ["Texts.java", "TextsTest.java"]
    assert 'check(Texts.flip("xä"), "äx");' in result.tests[0].text  # what both programs return
    again = await generate({"language": "java", "rounds": 1}, prompt, "```java\nclass Texts { void f() { } }\n```")
    assert "flip" in again.attempts[0].problem or again.stopped is not None


async def test_a_compiler_that_is_missing_is_said_and_ends_the_run(generate: Generator) -> None:
    """Code with a secret is refused before it reaches the compiler, each time for the same reason."""
    leak = "```python\nkey = 'AKIAQ3EGRVVXWJZ5T7KD'\ndef double(x):\n    return 2 * x\n```"
    result = await generate({}, PROMPT, leak, leak, leak, leak)
    assert (result.returned, len(result.attempts)) == (False, 2)
    assert result.stopped is not None
    assert result.stopped.startswith("2 programs were written, and could not be checked: ")
    assert result.attempts[0].problem in result.stopped


async def test_a_program_that_lacks_what_was_asked_for_is_repaired(generate: Generator) -> None:
    other = "```python\nclass Solution:\n    def double(self, x):\n        return 2 * x\n```"
    result = await generate({"rounds": 3}, PROMPT, other, GOOD, TESTS, GOOD)
    assert result.attempts[0].problem == "the program does not define double, which was asked for"
    assert (result.attempts[1].kind, result.code) == ("repair", "def double(x):\n    return 2 * x\n")


async def test_an_undefined_name_is_a_mistake_whatever_a_test_expects(generate: Generator) -> None:
    prompt = "Write a function `area(radius)` that returns the area of a circle."
    code = "```python\ndef area(radius):\n    return {} * radius ** 2\n```"
    good = code.format("3.14159")
    result = await generate({"rounds": 3}, prompt, code.format("PI"), "assert area(1) == 3.14\n", good, "none", good)
    assert (
        result.attempts[0].problem
        == "area(1) == 3.14 raised NameError: name 'PI' is not defined (line 2 of the program)"
    )
    assert (result.attempts[1].kind, result.attempts[1].problem) == ("repair", "")


@pytest.mark.parametrize(
    "asked", ["program that reads lines from standard input and prints", "function that gives back"]
)
async def test_a_program_keeps_what_runs_it_and_a_function_does_not(generate: Generator, asked: str) -> None:
    code = "```python\nimport sys\n\n\ndef turned(text):\n    return text[::-1]\n\nprint(turned(sys.stdin.read()))\n```"
    is_program = "program" in asked
    answers = [code] if is_program else [code, "assert turned('ab') == 'ba'\n", code]
    result = await generate({}, f"Write a Python {asked} texts backwards.", *answers)
    assert ("print" in result.code) == is_program
    assert any("but not run" in one for one in result.unverified) == is_program


@JDK
async def test_a_class_is_tested_by_what_its_methods_do_together(generate: Generator) -> None:
    prompt = "Write a Java class `Counter` with `void up()` and `int count()`."
    body = "class Counter {\n    private int count;\n    void up() { count++; }\n"
    whole = "```java\n" + body + "    int count() { return count; }\n}\n```"
    test = (
        "```java\npublic class Test {\n    public static void main(String[] args) {\n"
        "        Counter one = new Counter();\n        one.up();\n        assert one.count() == 1;\n    }\n}\n```"
    )
    wrong = "```java\nclass Counter {\n    void up() { }\n}\n```"
    task = {"language": "java", "security_level": "high", "rounds": 3}
    result = await generate(task, prompt, wrong, whole, test, whole)
    assert result.attempts[0].problem == "the program does not define count, which was asked for"
    assert (result.returned, result.stopped) == (True, None)
    assert "Scenario1.main(arguments);" in result.tests[0].text
    assert "static class Scenario1 {" in result.tests[0].text
    assert "check(one.count() == 1, true);" in result.tests[0].text


async def test_a_budget_that_ends_leaves_the_best_program(generate: Generator) -> None:
    result = await generate({"rounds": 20}, PROMPT, WRONG, TESTS, *[WRONG] * 20, budget={"tokens": 400})
    assert (generate.run.stop_reason, len(result.attempts) < 20) == ("answered", True)
    assert result.code.endswith("return x + 2\n")
    assert result.stopped is not None
    assert "double(-1) should return -2" in result.stopped


async def test_programs_that_only_raise_errors_do_not_agree(generate: Generator) -> None:
    prompt = "Write a function `total(values)` that adds numbers."
    code = "```python\ndef total(values):\n    return {}\n\nvalues = [1, 2]\n```"
    bad, worse, good = code.format("values + 1"), code.format("values[0] + '1'"), code.format("sum(values)")
    tests = "assert total([1, 2]) == 3\nassert total([4]) == 4\n"
    result = await generate({"security_level": "high"}, prompt, bad, tests, worse, good, good)
    assert result.attempts[0].problem.startswith("every test ended in an error: total([1, 2]) == 3 raised TypeError: ")
    assert [one.kind for one in result.attempts] == ["write", "repair", "write", "write"]
    assert (result.returned, result.code) == (True, "def total(values):\n    return sum(values)\n")


async def test_values_have_the_type_that_was_asked_for(generate: Generator) -> None:
    prompt = "Write a function `ends(text: str) -> tuple[str, str]` that returns the first and the last letter."
    code = "```python\ndef ends(text: str) -> tuple[str, str]:\n    return {}\n```"
    wrong, good = code.format("[text[0], text[-1]]"), code.format("(text[0], text[-1])")
    result = await generate({"rounds": 3}, prompt, wrong, "assert ends('abc') == ('a', 'c')\n", good, good)
    assert result.attempts[0].problem == "ends('abc') returned ['a', 'c'], which is no tuple[str, str]"
    assert (result.attempts[1].kind, result.attempts[1].problem, result.stopped) == ("repair", "", None)


async def test_tests_that_a_constant_passes_do_not_count_at_high(generate: Generator) -> None:
    prompt = "Write a function `moved(text, by)` that moves the letters of a text."
    code = "```python\ndef moved(text, by):\n    return {}\n```"
    tests = "assert moved('ab', 1) == 'ab'\nassert moved('ab', 2) == 'ab'\n"
    answers = [code.format("text"), tests, "none", code.format("text[by:] + text[:by]"), "none"]
    result = await generate({"security_level": "high", "rounds": 2}, prompt, *answers)
    assert (result.returned, result.attempts[0].passed) == (False, 2)
    assert result.stopped is not None
    assert "too few examples speak for the best one alone" in result.stopped
