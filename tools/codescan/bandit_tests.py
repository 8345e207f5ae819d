"""Runs chosen tests of bandit over Python, where it is installed (group ``code``).

Comments of the scanned text can't switch tests off: ``# nosec`` is ignored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tools.codescan.finding import Finding, Severity
from tools.codescan.limits import NotExamined
from tools.codescan.python_source import without_warnings
from tools.codescan.ruleset import RULES, Loader


@cache
def _chosen() -> dict[str, dict[str, Any]]:
    document: dict[str, dict[str, Any]] = yaml.load((RULES / "bandit.yaml").read_text(encoding="utf-8"), Loader)
    return document


@cache
def _maker() -> Callable[[list[str]], Any] | None:
    """Makes managers for a list of tests. None: bandit is not installed."""
    try:
        with without_warnings():  # stevedore's, about bandit
            from bandit.core.config import BanditConfig
            from bandit.core.manager import BanditManager
    except ImportError:
        return None
    logging.getLogger("bandit").setLevel(logging.CRITICAL)  # a text that it can't read is in its result
    config = BanditConfig()
    return lambda tests: BanditManager(config, "file", quiet=True, profile={"include": tests}, ignore_nosec=True)


def bandit_findings(text: str, file: str) -> list[Finding]:
    """Findings of bandit's tests in ``rules/bandit.yaml``; none if bandit is not installed.

    Raises:
        NotExamined: bandit could not read the text.
    """
    make = _maker()
    if make is None:
        return []
    chosen = _chosen()
    manager = make(list(chosen))
    with TemporaryDirectory(prefix="codescan-") as folder:
        path = Path(folder) / "program.py"
        path.write_text(text, encoding="utf-8")
        manager.discover_files([str(path)])
        manager.run_tests()
    if manager.skipped:
        raise NotExamined(f"bandit: {manager.skipped[0][1]}")
    return [_finding(issue, file, chosen[issue.test_id]) for issue in manager.results]


def _finding(issue: Any, file: str, rule: dict[str, Any]) -> Finding:
    return Finding(
        f"bandit.{issue.test_id}",
        rule["cwe"],
        Severity(rule["severity"]),
        file,
        issue.lineno or 1,
        issue.text,
        rule["fix"],
    )
