"""Connects the code scanner of the tools to the guard's rail ``code_scan``."""

from __future__ import annotations

from guardrails.rails.code import ScannedCode, Weakness
from tools.codescan import Language, ScanLimits, scan

LIMITS = ScanLimits(seconds=5.0)


def code_scan(code: str, language: str) -> ScannedCode:
    """Scans a program in a language, ``python`` or ``java``."""
    report = scan(code, Language(language), limits=LIMITS)
    found = tuple(
        Weakness(f"CWE-{finding.cwe}", finding.severity.value, finding.line, finding.reason.rstrip("."))
        for finding in report.findings
    )
    return ScannedCode(found, "; ".join(report.errors))
