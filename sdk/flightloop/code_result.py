"""Result of a code generation, and its text: fenced blocks of the files, and one with the report as JSON.

The text is what an agent answers, so people can read it, and rails that check code in answers see it.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, ValidationError

from flightloop.code_task import CodeLanguage, SecurityLevel
from flightloop.content import Wire

REPORT = "report"
"""Name of the block with the report."""
_BLOCK = re.compile(r"^(?P<fence>`{3,})(?P<kind>\w+) (?P<path>\S+)\n(?P<text>.*?)^(?P=fence)$", re.M | re.S)


class CodeFile(Wire):
    path: str
    text: str = ""


class CodeFinding(Wire):
    """A weakness or a broken constraint. See docs/code.md for rules and severities."""

    rule: str
    cwe: int | None = None
    severity: str
    line: int
    reason: str
    fix: str = ""


class CodeAttempt(Wire):
    """One program that the model wrote."""

    kind: Literal["write", "repair"]
    compiled: bool
    passed: int = 0
    """Tests that it passed."""
    failed: int = 0
    findings: int = 0
    """Weaknesses and broken constraints that the level wants repaired."""
    problem: str = ""
    """Why it was not accepted; empty if it was."""


class CodeResult(Wire):
    returned: bool
    """False: no program met the security level, and ``stopped`` says why."""
    language: CodeLanguage
    security_level: SecurityLevel
    files: list[CodeFile] = Field(default_factory=list)
    tests: list[CodeFile] = Field(default_factory=list)
    """Tests that the program passes, from the prompt's examples and from the model."""
    findings: list[CodeFinding] = Field(default_factory=list)
    """Findings that are left in the program."""
    attempts: list[CodeAttempt] = Field(default_factory=list)
    unverified: list[str] = Field(default_factory=list)
    """What could not be checked."""
    stopped: str | None = None
    """Why no program is returned, or why the best one has open problems."""
    run_id: str = ""
    """The run that generated it, with all steps in its journal."""

    @property
    def code(self) -> str:
        """The program's text; empty if none is returned."""
        return self.files[0].text if self.files else ""


def result_text(result: CodeResult) -> str:
    """The text of a result. Its fences are longer than any in the files."""
    files = [*result.files, *result.tests]
    runs = [len(run) for file in files for run in re.findall(r"`{3,}", file.text)]
    fence = "`" * (max(runs, default=2) + 1)
    blocks = [(result.language.value, file.path, file.text) for file in files]
    named = {
        "files": [CodeFile(path=file.path) for file in result.files],
        "tests": [CodeFile(path=file.path) for file in result.tests],
    }
    report = result.model_copy(update=named).model_dump_json(indent=1, exclude={"run_id"})
    blocks.append(("json", REPORT, report))
    return "\n\n".join(f"{fence}{kind} {path}\n{text.rstrip()}\n{fence}" for kind, path, text in blocks)


def parsed_result(text: str, run_id: str = "") -> CodeResult:
    """The result that a text describes.

    Raises:
        ValueError: the text has no report, such as a refusal.
    """
    blocks = {found["path"]: found["text"] for found in _BLOCK.finditer(text)}
    try:
        result = CodeResult.model_validate_json(blocks.get(REPORT, ""))
    except ValidationError as error:
        raise ValueError(f"the answer has no report of a code generation: {text[:200]!r}") from error
    whole = {
        "files": [CodeFile(path=file.path, text=blocks.get(file.path, "")) for file in result.files],
        "tests": [CodeFile(path=file.path, text=blocks.get(file.path, "")) for file in result.tests],
        "run_id": run_id,
    }
    return result.model_copy(update=whole)
