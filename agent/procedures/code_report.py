"""The result of a code generation: what is returned, and what could not be verified."""

from __future__ import annotations

from collections.abc import Sequence

from agent.procedures.candidates import Candidate, Work
from agent.procedures.code_prompts import problems_of
from agent.procedures.examples import Test
from agent.procedures.languages import GeneratedLanguage
from agent.procedures.wanted import Kind, Wanted
from flightloop.code_result import CodeAttempt, CodeFile, CodeFinding, CodeResult
from flightloop.code_task import CodeTask, SecurityLevel


def report(
    task: CodeTask,
    language: GeneratedLanguage,
    work: Work,
    best: Candidate | None,
    examples: Sequence[Test],
    own: Sequence[Test],
    wanted: Wanted,
    entry: str | None,
    *,
    supported: bool,
) -> CodeResult:
    """The result for the best program.

    Args:
        own: tests apart from the prompt's examples that the program passes.
        supported: whether more than one or two examples speak for the program.
    """
    level = task.security_level
    passed = [*best.passed(examples), *own] if best else []
    scenarios = best.survived(work.scenarios) if best else []
    stopped = _stopped(task, work, best, examples, wanted, tested=bool(passed or scenarios))
    if stopped is None and level is SecurityLevel.HIGH and not supported:
        stopped = f"{_written(work)}; too few examples speak for the best one alone: give at least three"
    returned = best is not None and (level is not SecurityLevel.HIGH or stopped is None)
    result = CodeResult(
        returned=returned,
        language=task.language,
        security_level=level,
        attempts=[_attempt(one, task, examples) for one in work.candidates],
        stopped=stopped,
        unverified=_unverified(task, best, examples, len(own) + len(scenarios), wanted),
    )
    if best is None or not returned:
        return result
    tests = language.test_file(passed, scenarios, entry, best.code) if passed or scenarios else ""
    return result.model_copy(
        update={
            "files": [CodeFile(path=language.file(best.code), text=best.code)],
            "tests": [CodeFile(path=language.tests_file(best.code), text=tests)] if tests else [],
            "findings": [_finding(one) for one in best.findings],
        }
    )


def _stopped(
    task: CodeTask, work: Work, best: Candidate | None, examples: Sequence[Test], wanted: Wanted, *, tested: bool
) -> str | None:
    """Why the best program is not good enough."""
    written = _written(work)
    if best is None:
        return _without_program(work)
    if problems := problems_of(best, task.security_level, examples):
        return f"{written}; the best one has {_count(len(problems), 'open problem')}: {problems[0]}"
    if not best.checked or not best.scanned:
        return "not all checks of the best program could be made"
    if not tested:
        advice = "ask for a function" if wanted.kind is Kind.PROGRAM else "give examples, such as f(1) == 2"
        return f"{written}; no test of the best one is known to be right: {advice}"
    if task.constraints.growth and (best.growth or {}).get("kept") is None:
        return f"its growth could not be measured: {(best.growth or {}).get('reason', 'not measured')}"
    return None


def _without_program(work: Work) -> str:
    """Why no program compiles."""
    if not work.candidates:
        return "the model wrote no program"
    last = work.candidates[-1]
    return f"{_written(work)}, and {'could not be checked' if last.refused else 'none compiles'}: {last.error}"


def _written(work: Work) -> str:
    count = len(work.candidates)
    return f"{_count(count, 'program')} {'was' if count == 1 else 'were'} written"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _unverified(
    task: CodeTask, best: Candidate | None, examples: Sequence[Test], own: int, wanted: Wanted
) -> list[str]:
    if best is None:
        return []
    said = []
    if wanted.kind is Kind.PROGRAM:
        said.append("the program was compiled and scanned, but not run: only functions and classes are tested")
    elif not examples:
        said.append("the prompt has no examples, so nothing independent of the model says what is right")
    if not examples and not own and wanted.kind is not Kind.PROGRAM:
        said.append("no test was run")
    elif examples and not own:
        said.append(f"nothing but the prompt's {_count(len(examples), 'example')} was tested")
    elif own:
        were = "test was" if own == 1 else "tests were"
        said.append(f"{own} {were} written by the model, and may be wrong like the program")
    if not best.scanned:
        said.append("the scanner could not examine all of the program")
    if task.constraints.growth and (best.growth or {}).get("kept") is None:
        said.append(f"growth: {(best.growth or {}).get('reason', 'not measured')}")
    return said


def _attempt(one: Candidate, task: CodeTask, examples: Sequence[Test]) -> CodeAttempt:
    problems = problems_of(one, task.security_level, examples)
    tests = [result for result in one.results if result.get("passed") is not None]
    return CodeAttempt(
        kind=one.kind,
        compiled=one.compiled,
        passed=sum(result["passed"] is True for result in tests),
        failed=sum(result["passed"] is False for result in tests),
        findings=len(one.open_findings(task.security_level)),
        problem=problems[0] if problems else "",
    )


def _finding(one: dict[str, object]) -> CodeFinding:
    cwe = one.get("cwe")
    number = int(str(cwe).removeprefix("CWE-")) if cwe else None
    return CodeFinding.model_validate({**one, "cwe": number})
