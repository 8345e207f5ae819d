"""Reports as SARIF 2.1.0 (OASIS, docs.oasis-open.org/sarif/sarif/v2.1.0), for code hosts and editors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from flightloop.version import VERSION
from tools.codescan.finding import Finding, Report, Severity

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {
    Severity.LOW: "note", Severity.MEDIUM: "warning", Severity.HIGH: "error", Severity.CRITICAL: "error",
}  # fmt: skip
SCORES = {Severity.LOW: "3.0", Severity.MEDIUM: "5.5", Severity.HIGH: "8.0", Severity.CRITICAL: "9.5"}
"""``security-severity``, by which code hosts sort."""


def sarif(reports: Sequence[Report]) -> dict[str, Any]:
    """One run with all findings. What was not examined is a notification of the invocation, which then counts as not
    successful."""
    findings = [finding for report in reports for finding in report.findings]
    rules = {finding.rule: finding for finding in findings}
    index = {rule: place for place, rule in enumerate(rules)}
    numbers = sorted({finding.cwe for finding in findings if finding.cwe is not None})
    errors = [(report.file, error) for report in reports for error in report.errors]
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "flightloop-codescan",
                "version": VERSION,
                "rules": [_rule(finding) for finding in rules.values()],
                "supportedTaxonomies": [{"name": "CWE"}],
            }
        },
        "taxonomies": [
            {
                "name": "CWE",
                "organization": "MITRE",
                "shortDescription": {"text": "Common Weakness Enumeration"},
                "taxa": [_taxon(number) for number in numbers],
            }
        ],
        "invocations": [
            {
                "executionSuccessful": not errors,
                "toolExecutionNotifications": [_notification(file, error) for file, error in errors],
            }
        ],
        "results": [_result(finding, index[finding.rule]) for finding in findings],
        "columnKind": "unicodeCodePoints",
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(finding: Finding) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "id": finding.rule,
        "shortDescription": {"text": finding.reason},
        "help": {"text": finding.fix},
        "defaultConfiguration": {"level": LEVELS[finding.severity]},
        "properties": {"security-severity": SCORES[finding.severity], "tags": ["security"]},
    }
    if finding.cwe is not None:
        rule["helpUri"] = _address(finding.cwe)
        rule["properties"]["tags"].append(f"external/cwe/cwe-{finding.cwe:03d}")
        target = {"id": f"CWE-{finding.cwe}", "toolComponent": {"name": "CWE"}}
        rule["relationships"] = [{"target": target, "kinds": ["superset"]}]
    return rule


def _taxon(number: int) -> dict[str, Any]:
    return {"id": f"CWE-{number}", "helpUri": _address(number)}


def _address(number: int) -> str:
    return f"https://cwe.mitre.org/data/definitions/{number}.html"


def _result(finding: Finding, index: int) -> dict[str, Any]:
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.reason} {finding.fix}"},
        "locations": [_location(finding.file, finding.line)],
    }


def _notification(file: str, error: str) -> dict[str, Any]:
    return {"level": "error", "message": {"text": error}, "locations": [_location(file, None)]}


def _location(file: str, line: int | None) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _relative(file)}}
    if line is not None:
        place["region"] = {"startLine": line}
    return {"physicalLocation": place}


def _relative(file: str) -> str:
    """A file's name as a URI reference."""
    return quote(file.replace("\\", "/"), safe="/.-_~")
