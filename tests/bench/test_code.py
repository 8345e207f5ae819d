from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from bench.code.escapes import attempts, escaped_of, java_program
from bench.code.generation import Generated, gain_rows, plain_rows, weakness_rows
from bench.code.hidden_tests import verdicts
from bench.code.outside import Outside, outside
from bench.code.problems import Problem, humaneval, own_problems, weakness_problems
from bench.code.run import Wish, measure
from bench.code.scanner import programs
from bench.errors import BenchError
from flightloop.code_result import CodeFile, CodeResult
from flightloop.code_task import SecurityLevel
from tools.codescan import Language, scan

JDK = pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK")


def test_the_programs_are_half_vulnerable_in_each_language() -> None:
    for language in Language:
        chosen = [program for program in programs() if program.language is language]
        assert len(chosen) >= 30
        assert abs(2 * sum(bool(program.weaknesses) for program in chosen) - len(chosen)) <= 1
        assert len({program.name for program in chosen}) == len(chosen)
        assert all(program.text.count("\n") >= 25 for program in chosen)


def test_the_rows_meet_their_targets() -> None:
    rows = {row.name: row.value for row in measure(Wish(("scanner",)))}
    assert rows["scanner_recall"] >= 0.95
    assert rows["scanner_false_positives"] <= 0.05
    assert rows["scanner_strangers_recall"] >= 0.60


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="unknown compiler; known: scanner"):
        measure(Wish(("compiler",)))
    with pytest.raises(BenchError, match="cannot be read"):
        programs(tmp_path)


def test_safe_programs_have_no_findings() -> None:
    problems = weakness_problems()
    assert len({problem.id for problem in problems}) == len(problems) == 100
    assert sum(problem.language == "java" for problem in problems) == 50
    found = {one.id: scan(one.safe, Language(one.language)).findings for one in problems}
    assert {name: findings for name, findings in found.items() if findings} == {}


def test_naive_programs_have_the_weakness_that_their_prompt_invites() -> None:
    naive = [problem for problem in weakness_problems() if problem.naive]
    assert len(naive) == 32
    assert len({problem.cwe for problem in naive}) >= 28
    found = {one.id: [each.cwe for each in scan(one.naive, Language(one.language)).findings] for one in naive}
    assert [one.id for one in naive if one.cwe not in found[one.id]] == []


@pytest.mark.slow
def test_safe_programs_pass_their_tests_and_others_do_not() -> None:
    problems = [one for one in weakness_problems() if one.language == "python"]
    passed = verdicts([(one, one.safe) for one in problems])
    assert [one.id for one, ok in zip(problems, passed, strict=True) if not ok] == []
    assert not any(verdicts([(one, "def nothing():\n    pass\n") for one in problems[:10]]))


def test_the_share_of_plain_samples_that_pass_is_told() -> None:
    problem = next(one for one in weakness_problems() if one.language == "python")
    (row,) = plain_rows("made_up", [(problem, problem.safe), (problem, ""), (problem, "def nothing():\n    pass\n")])
    assert (row.name, row.value, row.cases, row.note) == ("made_up_pass", pytest.approx(1 / 3), 3, "1 of 3")


@JDK
@pytest.mark.slow
def test_safe_programs_in_java_pass_their_tests_and_naive_ones_may_not() -> None:
    problems = {one.id: one for one in weakness_problems()}
    safe = ["java-digest", "java-sql-find", "java-unzip", "java-temporary", "java-permissions", "java-access-log"]
    assert verdicts([(problems[name], problems[name].safe) for name in safe]) == [True] * len(safe)
    naive = {"java-sql-find": False, "java-unzip": False, "java-create-once": True, "java-listen": True}
    assert verdicts([(problems[name], problems[name].naive) for name in naive]) == [*naive.values()]
    assert verdicts([(problems["java-digest"], "class Nothing {\n}\n")]) == [False]


def test_there_are_problems_to_develop_with() -> None:
    assert len({problem.id for problem in own_problems()}) == 20


def test_missing_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="HumanEval-X can't be read"):
        humaneval(tmp_path, "python")


def test_attempts_to_escape_fail(tmp_path: Path) -> None:
    known = attempts("python")
    assert len(known) == 60
    some = ["read-file", "read-by-link", "read-by-syscall", "list-folder", "write-file", "delete-file",
            "socket-connect", "socket-unix", "run-program", "fork", "kill-parent", "take-memory"]  # fmt: skip
    control = {"control": "def attempt():\n    return 'ESC' + 'APED'\n"}
    assert escaped_of({name: known[name] for name in some} | control, tmp_path) == {"control": ["ESCAPED"]}


@JDK
@pytest.mark.slow
def test_attempts_to_escape_in_java_fail(tmp_path: Path) -> None:
    known = attempts("java")
    assert len(known) == 60
    some = ["read-by-link", "write-by-compiler", "write-at-exit", "socket-unix", "socket-by-dns", "run-detached",
            "kill-all", "live-on-at-exit", "take-threads"]  # fmt: skip
    allowed = java_program("return System.getenv();")
    assert escaped_of({name: known[name] for name in some} | {"allowed": allowed}, tmp_path, "java") == {}


def test_what_a_program_reaches_is_seen_outside(tmp_path: Path) -> None:
    """Each effect of an escape is seen, without the program's word."""
    with outside(tmp_path / "a") as one:
        assert one.seen("nothing") == []
        assert one.seen(f"it is {one.secret}") == ["told the secret"]
        assert one.seen("y" * 300_000) == ["flooded the result"]
        text = one.filled("FOLDER PORT VICTIM SOCKET")
        assert text == f"{one.folder} {one.tcp} {one.victim.pid} {one.unix}"
        started = subprocess.Popen(["sleep", "60"])
        assert one.seen("") == ["lives on"]
        started.kill()
        started.wait()
        assert one.seen("") == []
        (one.folder / "secret").chmod(0o666)
        assert one.seen("") == ["changed files"]
    with outside(tmp_path / "b") as one:
        os.kill(one.victim.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, one.victim.pid, os.WSTOPPED | os.WNOWAIT)
        assert one.seen("") == ["ended or stopped a process"]
    for reach in (by_stream, by_datagram, by_unix):
        with outside(tmp_path / reach.__name__) as one:
            reach(one)
            assert one.has_visitor(10)
            assert one.seen("") == ["connected"]


def by_stream(one: Outside) -> None:
    socket.create_connection(("127.0.0.1", one.tcp)).close()


def by_datagram(one: Outside) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", one.udp))


def by_unix(one: Outside) -> None:
    with socket.socket(socket.AF_UNIX) as sender:
        sender.connect(str(one.unix))


def test_gains_are_counted() -> None:
    double = Problem("double", "python", "", "assert double(2) == 4")
    made = [
        Generated(double, result(code), plain)
        for code, plain in (("def double(x):\n    return 2 * x\n", "def double(x):\n    return x\n"), ("", ""))
    ]
    rows = {row.name: row for row in gain_rows("own", made)}
    assert (rows["own_pass"].value, rows["own_pass"].peer_value, rows["own_gain"].value) == (0.5, 0.0, 50.0)


def test_levels_are_compared() -> None:
    double = Problem("double", "python", "", "assert double(2) == 4", 95)
    weak, good = "def double(x):\n    return eval(f'2 * {x}')\n", "def double(x):\n    return 2 * x\n"
    codes = {SecurityLevel.LOW: [weak, good], SecurityLevel.MEDIUM: [good, good], SecurityLevel.HIGH: [good, ""]}
    rows = weakness_rows({level: [Generated(double, result(one), "") for one in codes[level]] for level in codes})
    values = {row.name: row.value for row in rows}
    assert values["findings_at_low"] >= 1
    assert (values["findings_at_medium"], values["findings_at_high"], values["returned_at_high"]) == (0, 0, 0.5)
    assert (values["repair_pass_lost"], values["handed_out_at_high"]) == (0, 0.5)


def result(code: str) -> CodeResult:
    files = [CodeFile(path="solution.py", text=code)] if code else []
    return CodeResult(returned=bool(code), language="python", security_level="low", files=files)
