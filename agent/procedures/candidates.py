"""Programs that were written in a run, with what their checks found, read from the run's history."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.procedures.examples import Test
from agent.run.history import CallState, Turn
from flightloop.code_task import SecurityLevel
from flightloop.events import CallsDecided

_LINE = r".*\(line \d+ of the program\)$"
_UNDEFINED = re.compile(rf"(?:NameError|UnboundLocalError): {_LINE}", re.S)
_MISTAKE = re.compile(
    r"(?:(?:Type|Attribute|Index|Key|ZeroDivision|Recursion)Error|(?:java\.\w+\.)(?:NullPointer|\w*IndexOutOfBounds|"
    rf"ClassCast|Arithmetic|NoSuchElement|ConcurrentModification|NegativeArraySize)Exception)\b{_LINE}",
    re.S,
)
SEVERITIES = ("low", "medium", "high", "critical")
LEAST = {SecurityLevel.LOW: None, SecurityLevel.MEDIUM: "medium", SecurityLevel.HIGH: "low"}
"""Least severity of the findings that a level wants repaired; None: none."""


@dataclass
class Candidate:
    """One program."""

    code: str
    kind: Literal["write", "repair"]
    checked: bool = True
    """Whether all its checks came to an end."""
    compiled: bool = False
    error: str = ""
    """Why it does not compile or load."""
    refused: bool = False
    """Whether it could not be compiled at all, as without a JDK; ``error`` says why."""
    results: list[dict[str, Any]] = field(default_factory=list)
    """Results of the tests so far."""
    mistyped: str | None = None
    """A call whose value is not of the type that was asked for."""
    findings: list[dict[str, Any]] = field(default_factory=list)
    """Weaknesses and broken constraints."""
    scanned: bool = False
    """Whether the scanner could examine all of it."""
    growth: dict[str, Any] | None = None

    def open_findings(self, level: SecurityLevel) -> list[dict[str, Any]]:
        """Findings that have to be repaired. Broken constraints always have to."""
        least = LEAST[level]
        known = SEVERITIES if least is None else SEVERITIES[SEVERITIES.index(least) :]
        return [
            one
            for one in self.findings
            if one["rule"].startswith("constraint.") or (least is not None and one["severity"] in known)
        ]

    def passed(self, tests: Sequence[Test]) -> list[Test]:
        return [test for test in tests if self._result(test).get("passed") is True]

    def survived(self, scenarios: Sequence[str]) -> list[str]:
        """The tests made of statements that it passes."""
        known = {result["test"]: result.get("passed") for result in self.results}
        return [text for text in scenarios if known.get(text) is True]

    def failed(self, tests: Sequence[Test]) -> list[dict[str, Any]]:
        """Results of tests that it does not pass. A test that does not compile says nothing."""
        results = [self._result(test) for test in tests]
        return [one for one in results if one.get("passed") is not True and not _uncompiled(one)]

    def returned(self) -> list[tuple[str, str]]:
        """Calls of tests that returned something, and the texts of the values."""
        found = [(str(one["test"]).partition(" == ")[0], one["value"]) for one in self.results if "value" in one]
        return [(call, str(value)) for call, value in found]

    def crashes(self) -> list[str]:
        """An error that shows a mistake of the program, whatever tests expect: an undefined name, or no test without.

        Only errors that are raised in the program's own lines count.
        """
        errors = [(one["test"], str(one.get("error", ""))) for one in self.results]
        for test, error in errors:
            if _UNDEFINED.match(error):
                return [f"{_short(test)} raised {error}"]
        if len(errors) > 1 and all(_MISTAKE.match(error) for _, error in errors):
            return [f"every test ended in an error: {_short(errors[0][0])} raised {errors[0][1]}"]
        return []

    def values(self, calls: Sequence[str]) -> tuple[str, ...]:
        """What it returns for calls: values, or kinds of errors."""
        return tuple(self._value(call) for call in calls)

    def _value(self, call: str) -> str:
        for result in self.results:
            if result["test"] == call or result["test"].startswith(f"{call} == "):
                return str(result.get("value", f"!{str(result.get('error', '?')).partition(':')[0]}"))
        return "?"

    def _result(self, test: Test) -> dict[str, Any]:
        text = f"{test[0]} == {test[1]}"
        return next(
            (one for one in self.results if one["test"] == text), {"test": text, "error": self.error or "not run"}
        )


@dataclass
class Work:
    """All that a run has done so far."""

    outlined: bool = False
    candidates: list[Candidate] = field(default_factory=list)
    own_tests: list[Test] = field(default_factory=list)
    """Tests that the model wrote as calls with their values."""
    scenarios: list[str] = field(default_factory=list)
    """Tests that the model wrote as statements."""
    test_tries: int = 0
    """How often the model was asked for tests."""
    unusable: int = 0
    """Answers of the model without a program."""


def _short(test: str) -> str:
    return " ".join(test.split())[:80]


def _uncompiled(result: dict[str, Any]) -> bool:
    return str(result.get("error", "")).startswith("the test does not compile")


REPAIR = "repair"
"""Text of a decision to repair a program begins with this word."""
TESTS = "write tests"
"""Text of the decision for which the model writes tests."""


def read_work(turns: Sequence[Turn]) -> Work:
    """Reads what a run has done from its decisions, and the results of their calls."""
    work = Work()
    for turn in turns:
        if not isinstance(turn.decision, CallsDecided):
            work.outlined = True
        elif not turn.calls:
            if turn.decision.text == TESTS:
                work.test_tries += 1
            else:
                work.unusable += 1
        else:
            repairs = turn.decision.text.startswith(REPAIR)
            _add(work, {state.call.function.name: state for state in turn.calls}, "repair" if repairs else "write")
    return work


def _add(work: Work, calls: dict[str, CallState], kind: Literal["write", "repair"]) -> None:
    if "compile_code" in calls:
        work.candidates.append(_candidate(calls, kind))
        return
    work.test_tries += "run_tests" in calls
    state = next(iter(calls.values()))
    arguments = state.arguments or {}
    same = [one for one in work.candidates if one.code == arguments.get("code")]
    if "run_tests" in calls:
        for test in arguments.get("tests", []):
            if test.get("statements"):
                work.scenarios.append(test["statements"])
            else:
                work.own_tests.append((test["call"], test["expected"]))
        for one in same:
            one.results += _content(state).get("tests", [])
            one.error = one.error or str(_content(state).get("error") or "")
    else:
        for one in same:
            one.growth = _content(state) or {"kept": None, "reason": _failure(state)}


def _candidate(calls: dict[str, CallState], kind: Literal["write", "repair"]) -> Candidate:
    compiled, scanned = _content(calls["compile_code"]), _content(calls.get("scan_code"))
    asked, tested = calls.get("check_constraints"), calls.get("run_tests")
    refused = not compiled
    made = Candidate(
        code=(calls["compile_code"].arguments or {}).get("code", ""),
        kind=kind,
        checked=all(state.result is not None and state.result.ok for state in calls.values()),
        compiled=compiled.get("compiled") is True,
        error=_failure(calls["compile_code"]) if refused else str(compiled.get("error", "")),
        refused=refused,
        findings=[*_content(asked).get("findings", []), *scanned.get("findings", [])],
        scanned=scanned.get("complete") is True,
        results=list(_content(tested).get("tests", [])),
    )
    if tested is not None and _content(tested).get("loaded") is False:
        made.error = made.error or str(_content(tested).get("error"))
    return made


def _content(state: CallState | None) -> dict[str, Any]:
    """What a call returned; empty if it failed."""
    result = state.result if state else None
    return result.content if result is not None and result.ok and isinstance(result.content, dict) else {}


def _failure(state: CallState) -> str:
    return (state.result.error if state.result else None) or "the call failed"
