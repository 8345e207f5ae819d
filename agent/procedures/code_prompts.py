"""Prompts with which the model writes a program, repairs one, or writes tests."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.procedures.candidates import Candidate
from agent.procedures.examples import Test
from agent.procedures.wanted import Kind
from flightloop.code_task import CodeTask, SecurityLevel

Messages = list[tuple[str, str]]
_TITLES = {"python": "Python 3", "java": "Java 17"}
MOST_PROBLEMS = 4
_SCENARIO = {
    ("python", False): "The function `{entry}` exists. Write one short function `test_solution()` that {needs}calls"
    " `{entry}`, and asserts what it should return. Answer with one ```python block.",
    (
        "python",
        True,
    ): "The class `{entry}` exists. Write one short function `test_solution()` that makes an object of it,"
    " calls its methods in turn, and asserts what they should return. Answer with one ```python block.",
    (
        "java",
        False,
    ): "The method `{entry}` exists. Test it by a few statements, one line each. State each result in this"
    " form:\ncheck(value, expected);\nWrite nothing else.",
    ("java", True): "The class `{entry}` exists. Test it by a few statements, one line each: make an object, call its"
    " methods, and state each result in this form:\ncheck(one.method(), expected);\nWrite nothing else.",
}
"""Requests for a test, by language, and by whether a class is tested."""
_NEEDS = (
    (re.compile(r"sqlite|\bsql\b|connection|database", re.I), "makes what it needs in sqlite3.connect(':memory:'), "),
    (
        re.compile(r"\bfiles?\b|folder|director|\bpath", re.I),
        "writes the files that it needs to the working directory, ",
    ),
)
"""What a test of a function in Python may have to set up. A small model does whatever is named."""


def write_messages(
    task: CodeTask, prompt: str, *, stub: bool, warned: Sequence[str] = (), failed: Sequence[Test] = ()
) -> Messages:
    """Asks for a program.

    Args:
        stub: whether the prompt is code to complete.
        warned: problems that earlier programs had.
        failed: the prompt's examples that earlier programs failed.
    """
    language = task.language.value
    asked = f"Complete this {_TITLES[language]} code:\n\n{_block(task, prompt)}" if stub else prompt
    rules = [*_rules(task), *(f"Avoid this: {one}" for one in warned)]
    rules += [f"{call} must return {expected}" for call, expected in failed[:MOST_PROBLEMS]]
    wanted = f"Answer with one ```{language} block that contains the complete program, without examples of its use."
    return [("user", "\n\n".join(filter(None, (asked, "\n".join(f"- {rule}" for rule in rules), wanted))))]


def repair_messages(
    task: CodeTask, prompt: str, candidate: Candidate, problems: Sequence[str], *, stub: bool
) -> Messages:
    """Asks for a better version of a program."""
    language = task.language.value
    told = "\n".join(f"- {one}" for one in problems[:MOST_PROBLEMS])
    return [
        *write_messages(task, prompt, stub=stub),
        ("assistant", _block(task, candidate.code)),
        (
            "user",
            f"This program has problems:\n{told}\n\nRewrite it without them, and keep what it does. Answer with one"
            f" ```{language} block that contains the complete program.",
        ),
    ]


def test_messages(task: CodeTask, prompt: str, entry: str, form: str, *, stub: bool) -> Messages:
    """Asks for tests of the function that the prompt describes. ``form``: what a line of the answer looks like."""
    asked = _block(task, prompt) if stub else prompt
    return [
        (
            "user",
            f"{asked}\n\nWrite 5 short tests of the function `{entry}`, one line each, in this form:\n"
            f"{form}\nUse short literals only, and include edge cases. Write nothing else.",
        )
    ]


def scenario_messages(task: CodeTask, prompt: str, entry: str, kind: Kind, *, stub: bool) -> Messages:
    """Asks for one test that sets up what the function or class needs."""
    asked = _block(task, prompt) if stub else prompt
    needs = next((hint for word, hint in _NEEDS if word.search(prompt)), "")
    request = _SCENARIO[task.language.value, kind is Kind.CLASS].format(entry=entry, needs=needs)
    return [("user", f"{asked}\n\n{request}")]


def problems_of(candidate: Candidate, level: SecurityLevel, tests: Sequence[Test]) -> list[str]:
    """What has to be repaired, worst first."""
    if candidate.error:
        return [candidate.error]
    found = [
        f"line {one['line']}: {one['reason']} {one.get('fix', '')}".strip() for one in candidate.open_findings(level)
    ]
    typed = [candidate.mistyped] if candidate.mistyped else []
    failed = [_failed_test(one) for one in candidate.failed(tests)]
    return [*failed, *candidate.crashes(), *typed, *found, *_too_slow(candidate)]


def _block(task: CodeTask, code: str) -> str:
    return f"```{task.language.value}\n{code.strip(chr(10))}\n```"


def _failed_test(result: dict[str, object]) -> str:
    call, _, expected = str(result["test"]).rpartition(" == ")
    if error := str(result.get("error") or ""):
        raised = error if error.startswith("not finished") else f"it raised {error}"
        return f"{call} should return {expected}, but {raised.replace('not finished', 'it was not finished', 1)}"
    return f"{call} should return {expected}, but it returned {result.get('value')}"


def _too_slow(candidate: Candidate) -> list[str]:
    growth = candidate.growth
    if growth is None or growth.get("kept") is not False:
        return []
    return [f"its time grows like n^{growth['exponent']}; at most n^{growth['allowed']} is allowed"]


def _rules(task: CodeTask) -> list[str]:
    asked, rules = task.constraints, []
    if asked.signature:
        rules.append(f"Define exactly this function: {asked.signature}")
    if asked.imports is not None:
        rules.append(f"Import nothing but: {', '.join(asked.imports)}" if asked.imports else "Import nothing")
    if not asked.network:
        rules.append("Use no network")
    if not asked.files:
        rules.append("Read and write no files")
    if asked.max_complexity:
        rules.append(f"Keep each function's cyclomatic complexity at most {asked.max_complexity}")
    if asked.max_line:
        rules.append(f"Keep lines at most {asked.max_line} characters long")
    if asked.growth:
        rules.append(f"Its time may grow like {asked.growth} at most")
    return rules
