"""Result of a run of the code agent, and the program of each attempt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from dashboards.steps import StepView
from flightloop.code_result import CodeAttempt, CodeFinding, CodeResult, parsed_result
from flightloop.code_task import parsed_task
from flightloop.events import Replied
from flightloop.runs import Run, RunStatus

_COMPILES = "compile_code"
"""Tool whose call begins the checks of a program."""
_FINDS = ("scan_code", "check_constraints")


@dataclass(frozen=True)
class AttemptView:
    """A program that was written, and its outcome."""

    number: int  # from 1
    attempt: CodeAttempt
    code: str
    """Empty if the run's steps don't tell it."""
    findings: tuple[CodeFinding, ...]
    """Findings of the scanner, and broken constraints."""
    returned: bool
    """Whether it is the program of the result."""


def generated(run: Run, steps: Sequence[StepView]) -> CodeResult | None:
    """The result of a run that generated code; None for other runs.

    A model could write the same text. So the last reply must be the procedure's, which no model call is behind.
    """
    replies = [step.decision for step in steps if isinstance(step.decision, Replied)]
    if run.status is not RunStatus.SUCCEEDED or not replies or replies[-1].model.model:
        return None
    try:
        return parsed_result(run.output_text, run.id)
    except ValueError:
        return None


def prompt_of(text: str) -> str:
    """The prompt in the message of a generation, without the settings in its first line."""
    return parsed_task(text)[1]


def attempts_of(result: CodeResult, steps: Iterable[StepView]) -> list[AttemptView]:
    """The attempts of a result, in order, with their programs and findings from the run's steps."""
    programs = [(_code(step), tuple(_findings(step))) for step in steps if _code(step) is not None]
    if len(programs) != len(result.attempts):
        programs = [(None, ())] * len(result.attempts)
    same = [bool(code) and (code or "").strip() == result.code.strip() for code, _ in programs]
    chosen = same.index(True) if any(same) else None
    return [
        AttemptView(number + 1, attempt, code or "", findings, number == chosen)
        for number, (attempt, (code, findings)) in enumerate(zip(result.attempts, programs, strict=True))
    ]


def _code(step: StepView) -> str | None:
    """The program that was written in a step; None if none was."""
    return next((str(one.arguments.get("code", "")) for one in step.calls.values() if one.tool == _COMPILES), None)


def _findings(step: StepView) -> Iterator[CodeFinding]:
    for call in step.calls.values():
        content = call.result.content if call.tool in _FINDS and call.result and call.result.ok else None
        found = content.get("findings", []) if isinstance(content, dict) else []
        for one in found if isinstance(found, list) else []:
            with suppress(ValidationError, TypeError, ValueError):
                cwe = str(one.get("cwe") or "").removeprefix("CWE-")
                yield CodeFinding.model_validate({**one, "cwe": int(cwe) if cwe else None})


def line_of(code: str, number: int) -> str:
    """A line of a program, from 1, as the scanner counts them; empty if there is none."""
    lines = code.split("\n")
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def verdict(result: CodeResult) -> tuple[str, str, str]:
    """Level (ok, warning or critical), headline and reason of a result."""
    if not result.returned:
        return "critical", "No program is returned", result.stopped or ""
    if result.stopped:
        return "warning", "The best program is returned, with open problems", result.stopped
    left = len(result.findings)
    if left:
        return "warning", f"A program is returned, with {left} finding{'s' if left > 1 else ''}", ""
    return "ok", "A program is returned, with nothing open", ""
