"""SARIF, the command, other tools' findings, and the agent's tool."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tools.codescan import Finding, Language, Report, Severity, scan
from tools.codescan.__main__ import app
from tools.codescan.javac import javac_report
from tools.codescan.sarif import sarif

ROOT = Path(__file__).resolve().parents[3]
BAD = "import os\n\ndef ping(host):\n    os.system('ping ' + host)\n"
run = CliRunner().invoke


def test_sarif_names_rules_places_and_weaknesses() -> None:
    log = sarif([scan(BAD, Language.PYTHON, "src/my ping.py"), scan(BAD, Language.PYTHON, "b.py")])
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["python.command-injection"]
    first, second = run["results"]
    assert first["ruleIndex"] == second["ruleIndex"] == 0
    assert first["level"] == "error"
    place = first["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "src/my%20ping.py"}, "region": {"startLine": 4}}
    assert [taxon["id"] for taxon in run["taxonomies"][0]["taxa"]] == ["CWE-78"]
    assert run["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]


def test_sarif_tells_what_was_not_examined() -> None:
    (run,) = sarif([scan("def f(:\n", Language.PYTHON, "a.py")])["runs"]
    assert run["results"] == []
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "not valid Python" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_a_broken_constraint_has_no_weakness_in_sarif() -> None:
    finding = Finding("constraint.files", None, Severity.HIGH, "a.py", 1, "open reaches files.", "Don't.")
    (run,) = sarif([Report(Language.PYTHON, "a.py", (finding,))])["runs"]
    assert "relationships" not in run["tool"]["driver"]["rules"][0]
    assert run["taxonomies"][0]["taxa"] == []


def test_the_command_prints_findings_and_exits_with_1(tmp_path: Path) -> None:
    file = tmp_path / "ping.py"
    file.write_text(BAD)
    result = run(app, [str(file)])
    assert result.exit_code == 1
    assert f"{file}:4: critical CWE-78 python.command-injection" in result.stdout
    file.write_text("x = 1\n")
    assert run(app, [str(file)]).exit_code == 0


def test_the_command_writes_sarif_and_takes_a_severity(tmp_path: Path) -> None:
    file = tmp_path / "ping.py"
    file.write_text(BAD + "\ntry:\n    ping('a')\nexcept Exception:\n    pass\n")
    both = json.loads(run(app, [str(file), "--sarif"]).stdout)
    high = json.loads(run(app, [str(file), "--sarif", "--severity", "high"]).stdout)
    assert [len(log["runs"][0]["results"]) for log in (both, high)] == [2, 1]


def test_the_command_refuses_other_files_and_reports_unreadable_ones(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert run(app, [str(tmp_path / "a.txt")]).exit_code == 2
    (tmp_path / "a.py").write_bytes(b"\xff\xfe")
    assert run(app, [str(tmp_path / "a.py")]).exit_code == 1


def test_the_command_checks_imports_by_a_lock_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import requests\nimport invented\n")
    (tmp_path / "requirements.txt").write_text("requests==2.32.0\n")
    result = run(app, [str(tmp_path / "a.py"), "--lock", str(tmp_path / "requirements.txt")])
    assert "a.py:2: medium CWE-1357" in result.stdout
    assert "requests" not in result.stdout


def test_the_command_runs_as_a_module(tmp_path: Path) -> None:
    (tmp_path / "Box.java").write_text(
        'class Box { Object c() throws Exception { return Cipher.getInstance("DES"); } }\n'
    )
    command = [sys.executable, "-m", "tools.codescan", str(tmp_path / "Box.java")]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 1, out.stderr
    assert "CWE-327 java.weak-cipher" in out.stdout


def test_chosen_tests_of_bandit_are_run() -> None:
    pytest.importorskip("bandit", reason="bandit is in the group code")
    text = "import logging.config\nserver = logging.config.listen(9999)\n"
    assert [finding.rule for finding in scan(text, Language.PYTHON).findings] == ["bandit.B612"]


needs_javac = pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK")


@needs_javac
def test_warnings_of_javac_are_findings() -> None:
    body = "  int f(int x) {\n    switch (x) { case 1: x++; case 2: return x / 0; }\n    return x;\n  }\n"
    text = f"public class Sum {{\n{body}}}\n"
    report = javac_report(text, "Sum.java")
    assert report.complete, report.errors
    found = {(finding.rule, finding.line) for finding in report.findings}
    assert found == {("javac.divzero", 3), ("javac.fallthrough", 3)}


@needs_javac
def test_javac_says_what_is_not_java_but_needs_no_libraries() -> None:
    assert not javac_report("class A { void f() { x = ; } }").complete
    assert javac_report("import org.example.Thing;\nclass A { Thing thing; }\n").complete


@needs_javac
def test_the_file_is_named_after_the_public_class_and_not_after_a_comment() -> None:
    report = javac_report("/*\npublic class Wrong {}\n*/\npublic class Right {}\n")
    assert report.complete, report.errors


def test_a_missing_compiler_is_an_error(tmp_path: Path) -> None:
    report = javac_report("class A {}", javac=str(tmp_path / "javac"))
    assert any("can't be started" in error for error in report.errors)
