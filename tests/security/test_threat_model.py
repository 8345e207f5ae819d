"""docs/security.md names tests that exist, and a test for each attack."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = (HERE.parents[1] / "docs" / "security.md").read_text()


def test_every_risk_of_owasp_names_tests_that_exist() -> None:
    document = (HERE.parents[1] / "docs" / "guardrails.md").read_text()
    section = document.split("## OWASP's lists")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith(("| LLM", "| ASI")) and "what holds" not in line]
    assert [row[2:7] for row in rows] == [f"{kind}{at:02}" for kind in ("LLM", "ASI") for at in range(1, 11)]
    assert [row for row in rows if "`test_" not in row] == []
    assert set(re.findall(r"`(test_\w+)`", section)) - names_of_tests() == set()


def names_of_tests() -> set[str]:
    """Names of all tests."""
    return {
        name
        for path in HERE.parent.rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.M)
    }


def test_every_attack_names_tests_that_exist() -> None:
    known = names_of_tests()
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT))
    assert named - known == set()
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and line.count("|") == 4]
    attacks = [row for row in rows if "what stops it" not in row and "is trusted with" not in row]
    attacks = attacks[[row.startswith("| a tool approves its own call") for row in attacks].index(True) :]
    assert len(attacks) > 30
    assert [row for row in attacks if "`test_" not in row] == []
