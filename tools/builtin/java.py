"""Java for the tools that compile and test programs. See `java_machine` for the sandbox.

Tests are judged inside the virtual machine: expected values are expressions of Java.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any

from tools.builtin import java_harness as harness
from tools.builtin.code_test import CodeTest
from tools.builtin.java_machine import Done, run
from tools.java_text import main_type, package_of, receiver_of

COMPILE_SECONDS, RUN_SECONDS, TEST_SECONDS = 30.0, 20.0, 3.0
MOST_ERROR = 500
MAIN_SECONDS = 15.0
"""For a test that is a class ``Main``, which is alone in its machine."""
_ERROR = re.compile(r"^(?:.*/)?(\w+)\.java:(\d+): error: (.*)$", re.M)
_DETAIL = re.compile(r"^\s+(symbol|location|required|found|reason):\s*(.*)$", re.M)
"""Lines that follow an error: which name is meant, and where it was looked for."""


def compiled(code: str) -> dict[str, Any]:
    """Compiles a program."""
    with TemporaryDirectory(prefix="java-") as folder:
        problem = _compiled(Path(folder), {_file_of(code): code})
    return {"compiled": True} if problem is None else {"compiled": False, "error": problem}


def tested(code: str, tests: Sequence[CodeTest]) -> dict[str, Any]:
    """Runs tests of a program: calls of its methods, or classes ``Main`` whose ``main`` must not raise."""
    with TemporaryDirectory(prefix="java-") as name:
        folder = Path(name)
        problem = _compiled(folder, {_file_of(code): code})
        if problem is not None:
            return {"loaded": False, "error": problem, "tests": []}
        calls = [test for test in tests if test.statements is None]
        results = iter(_call_results(folder, code, calls) if calls else [])
        return {
            "loaded": True,
            "tests": [next(results) if test.statements is None else _main_result(folder, code, test) for test in tests],
        }


def _main_result(folder: Path, code: str, test: CodeTest) -> dict[str, Any]:
    """Result of a test that is a class ``Main``."""
    package = package_of(code)
    body = 'Main.main(new java.lang.String[0]); call.tell("done", "");'
    texts = {
        "Main.java": harness.head(package) + (test.statements or ""),
        f"{harness.NAME}.java": harness.source([body], package=package, file=_file_of(code), seconds=MAIN_SECONDS),
    }
    problem = _compiled(folder, texts)
    if problem is not None:
        return {"test": test.text, "passed": False, "error": f"the test does not compile: {problem}"}
    told, done = _run(folder, package)
    return _result(test, told.get(0), done, MAIN_SECONDS)


def _call_results(folder: Path, code: str, tests: Sequence[CodeTest]) -> list[dict[str, Any]]:
    """Results of tests that are calls. Calls that do not compile fail; the others are compiled without them."""
    package, bodies = package_of(code), [_call_body(code, test) for test in tests]
    broken: dict[int, str] = {}
    for _ in range(len(tests) + 1):
        kept = [";" if index in broken else body for index, body in enumerate(bodies)]
        text = harness.source(kept, package=package, file=_file_of(code), seconds=TEST_SECONDS)
        output = _compiler_output(folder, {f"{harness.NAME}.java": text})
        if output is None:
            break
        first = text[: text.index(harness.FIRST)].count("\n") + 2
        found = {int(line) - first: said for file, line, said in _ERROR.findall(output) if file == harness.NAME}
        new = {index: said for index, said in found.items() if 0 <= index < len(tests) and index not in broken}
        if not new:
            error = f"the test does not compile: {_first_error(output)[:MOST_ERROR]}"
            return [{"test": test.text, "passed": None, "error": error} for test in tests]
        broken |= new
    told, done = _run(folder, package)
    return [
        {"test": test.text, "passed": None, "error": f"the test does not compile: {broken[index]}"}
        if index in broken
        else _result(test, told.get(index), done, TEST_SECONDS)
        for index, test in enumerate(tests)
    ]


def _result(test: CodeTest, said: dict[str, Any] | None, done: Done, seconds: float) -> dict[str, Any]:
    result: dict[str, Any] = {"test": test.text}
    if said is None:
        return result | {"passed": False, "error": f"not finished: {_ending(done)}"}
    if said["kind"] == "late":
        return result | {"passed": False, "error": f"not finished after {seconds:g} s"}
    if said["kind"] == "error":
        return result | {"passed": False, "error": said["text"][:MOST_ERROR]}
    if said["kind"] == "done":
        return result | {"passed": test.statements is not None}
    return result | {"passed": None if test.expected is None else said["kind"] == "same", "value": said["text"]}


def _ending(done: Done) -> str:
    """Why the machine ended before a test did."""
    if done.cut:
        return "the program wrote too much to its standard output"
    return "the program ended itself" if done.exit == "ok" else f"the program was {done.exit}"


def _call_body(code: str, test: CodeTest) -> str:
    call = " ".join((test.call or "").split())
    name = call.partition("(")[0].strip()
    if "." not in name and not name.startswith("new "):
        call = f"{receiver_of(code, name)}.{call}"
    expected = "NOTHING" if test.expected is None else " ".join(test.expected.split())
    return f"call.judge({call}, {expected});"


def _file_of(code: str) -> str:
    return f"{main_type(code)}.java"


def _compiled(folder: Path, sources: dict[str, str]) -> str | None:
    """Compiles files in a folder. Returns the first error; None if there is none."""
    output = _compiler_output(folder, sources)
    return None if output is None else _first_error(output)[:MOST_ERROR]


def _first_error(output: str) -> str:
    """The first error of the compiler with its details, on one line."""
    found = _ERROR.search(output)
    if found is None:
        return output.strip() or "the compiler failed"
    later = _ERROR.search(output, found.end())
    details = _DETAIL.findall(output, found.end(), later.start() if later else len(output))
    told = "; ".join(f"{kind}: {text}" for kind, text in details)
    return f"line {found[2]}: {found[3]}" + (f" ({told})" if told else "")


def _compiler_output(folder: Path, sources: dict[str, str]) -> str | None:
    """The compiler's messages if it fails; None if it succeeds."""
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
    options = ["-proc:none", "-nowarn", "-encoding", "UTF-8", "-classpath", str(folder), "-d", str(folder)]
    done = run("javac", [*options, *sources], folder, COMPILE_SECONDS)
    return None if done.exit == "ok" else done.output or f"the compiler was {done.exit}"


def _run(folder: Path, package: str | None) -> tuple[dict[int, dict[str, Any]], Done]:
    """Runs the harness. Returns what it told, and how the machine ended."""
    token = token_hex(16)
    name = f"{package}.{harness.NAME}" if package else harness.NAME
    done = run("java", ["-cp", str(folder), name, token], folder, RUN_SECONDS)
    return harness.said(done.output, token), done
