"""Tool that runs a program's tests within the limits of `tools.builtin.forked`.

Values are compared outside the process that runs the program, so that ending early, or comparing strangely, does not
pass a test. A statement such as an ``assert`` is judged inside; a program that is written to deceive can pass it.
"""

from __future__ import annotations

import ast
import json
import math
import os
import signal
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from secrets import token_hex
from typing import Annotated, Any

from pydantic import Field

from flightloop.tool import tool
from tools.builtin.code import Code, Language
from tools.builtin.code_test import CodeTest
from tools.builtin.forked import LIMITS, REPORT, run_forked

WALL_SECONDS = 20.0
TEST_SECONDS = 3.0
CPU_SECONDS = 12
MOST_TESTS = 64
MOST_VALUE = 2_000
MOST_ERROR = 500
REPORT_BYTES, OUTPUT_BYTES = 512 * 1024, 2_000
MODULE = "solution"


Tests = Annotated[list[CodeTest], Field(min_length=1, max_length=MOST_TESTS)]


@tool(effect="pure", timeout_s=90, permissions=("subprocess",), returns_untrusted=True)
def run_tests(code: Code, tests: Tests, language: Language = "python") -> Any:
    """Run a program's tests. The program has no network and no files.

    Args:
        code: the program's source
        tests: calls with expected values, or statements
        language: python or java
    """
    if language == "java":
        from tools.builtin.java import tested

        return tested(code, tests)
    token = token_hex(16)
    limits = replace(LIMITS, cpu=CPU_SECONDS)
    ended = run_forked(
        lambda: _run(code, tests, token),
        seconds=WALL_SECONDS,
        output_bytes=OUTPUT_BYTES,
        report_bytes=REPORT_BYTES,
        limits=limits,
    )
    said = _lines(ended.report, token)
    if not said or "loaded" not in said[0]:
        return {"loaded": False, "error": f"the program was {ended.exit}", "tests": []}
    if not said[0]["loaded"]:
        return {"loaded": False, "error": said[0]["error"], "tests": []}
    return {"loaded": True, "tests": judged(tests, said[1:], ended.exit)}


def judged(tests: Sequence[CodeTest], said: Sequence[dict[str, Any]], ended: str) -> list[dict[str, Any]]:
    """Results of tests. ``passed`` is None for a call without an expected value.

    Args:
        said: for each test that came to its end, ``value`` (of a call), ``done`` (of statements) or ``error``.
        ended: how the process ended.
    """
    results = []
    for index, test in enumerate(tests):
        told = said[index] if index < len(said) else {"error": f"not finished: the program was {ended}"}
        result: dict[str, Any] = {"test": test.text}
        if "error" in told:
            result |= {"passed": False, "error": told["error"]}
        elif test.statements is not None:
            result |= {"passed": told.get("done") is True}
        else:
            value = str(told.get("value"))
            result |= {"passed": None if test.expected is None else same(value, test.expected), "value": value}
        results.append(result)
    return results


def same(value: str, expected: str) -> bool:
    """Whether two texts are the same literal. Floats may differ by rounding."""
    try:
        return _alike(ast.literal_eval(value), ast.literal_eval(expected))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return " ".join(value.split()) == " ".join(expected.split())


def _alike(value: Any, expected: Any) -> bool:
    if isinstance(value, float) or isinstance(expected, float):
        numbers = isinstance(value, int | float) and isinstance(expected, int | float)
        return numbers and (value == expected or math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-9))
    if type(value) is not type(expected):
        return False
    if isinstance(value, list | tuple):
        return len(value) == len(expected) and all(map(_alike, value, expected))
    if isinstance(value, dict):
        return value.keys() == expected.keys() and all(_alike(value[key], expected[key]) for key in value)
    return bool(value == expected)


def _lines(report: bytes, token: str) -> list[dict[str, Any]]:
    """The harness's messages; lines without its token were written by the program."""
    found = []
    for line in report.decode("utf-8", "replace").splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and told.pop("token", None) == token:
            found.append(told)
    return found


def _run(code: str, tests: Sequence[CodeTest], token: str) -> int:
    """The harness, in the forked process."""
    write, dump, ring, alarm = os.write, json.dumps, signal.setitimer, signal.ITIMER_REAL

    def tell(**told: Any) -> None:
        write(REPORT, (dump({"token": token, **told}) + "\n").encode())

    def late(*_: Any) -> None:
        raise TimeoutError(f"not finished after {TEST_SECONDS:g} s")

    def timed(work: Callable[[], None]) -> str | None:
        ring(alarm, TEST_SECONDS)
        try:
            work()
        except BaseException as error:  # SystemExit too
            return _in_words(error)
        finally:
            ring(alarm, 0)
        return None

    signal.signal(signal.SIGALRM, late)
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    scope = module.__dict__
    failed = timed(lambda: exec(compile(code, "solution.py", "exec"), scope))
    if failed is not None:
        tell(loaded=False, error=failed)
        return 1
    tell(loaded=True)
    for test in tests:
        own = dict(scope)
        got: list[str] = []
        if test.call is not None:
            call = test.call
            failed = timed(lambda: got.append(repr(eval(call, own))[:MOST_VALUE]))  # noqa: B023
            tell(**({"error": failed} if failed else {"value": got[0]}))
        else:
            failed = timed(lambda: exec(test.statements or "", own))  # noqa: B023
            tell(**({"error": failed} if failed else {"done": True}))
    return 0


def _in_words(error: BaseException) -> str:
    """An error with the program's line that raised it."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "solution.py":
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        line = error.lineno
    where = f" (line {line} of the program)" if line else ""
    return f"{type(error).__name__}: {str(error)[:MOST_ERROR]}{where}"
