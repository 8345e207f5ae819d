"""Tool that scans a program for weaknesses, without running it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from flightloop.tool import tool

MOST_FINDINGS = 30


# The program comes from the model, so results don't count as evidence.
@tool(effect="pure", timeout_s=20, returns_untrusted=True)
def scan_code(
    code: Annotated[str, Field(min_length=1, max_length=50_000)], language: Literal["python", "java"] = "python"
) -> Any:
    """Check a program for security weaknesses. The program is read, not run.

    Args:
        code: the program's source
        language: python or java
    """
    from tools.codescan import Language, scan  # with its libraries a third of a second of imports

    report = scan(code, Language(language), "program")
    result: dict[str, Any] = {
        "findings": [
            {
                "rule": finding.rule,
                "cwe": f"CWE-{finding.cwe}",
                "severity": finding.severity.value,
                "line": finding.line,
                "reason": finding.reason,
                "fix": finding.fix,
            }
            for finding in report.findings[:MOST_FINDINGS]
        ],
        "complete": report.complete,
    }
    if len(report.findings) > MOST_FINDINGS:
        result["note"] = f"only the first {MOST_FINDINGS} of {len(report.findings)} findings are shown"
    if report.errors:
        result["errors"] = list(report.errors)
    return result
