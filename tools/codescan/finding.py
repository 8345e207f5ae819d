"""Result of a scan: findings in one schema, and the parts that could not be examined."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a weakness is where it is reached, in ascending order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)

    def reaches(self, least: Severity) -> bool:
        """Whether this severity is ``least`` or worse."""
        return self.rank >= least.rank


class Language(StrEnum):
    PYTHON = "python"
    JAVA = "java"

    @staticmethod
    def of_file(name: str) -> Language | None:
        """The language of a file by the end of its name; None for other files."""
        return {"py": Language.PYTHON, "pyi": Language.PYTHON, "java": Language.JAVA}.get(name.rpartition(".")[2])


@dataclass(frozen=True, slots=True)
class Finding:
    """One weakness at one line."""

    rule: str
    """Identifier of the rule, such as ``python.sql-injection``."""
    cwe: int | None
    """Number in the Common Weakness Enumeration (cwe.mitre.org); None for a broken constraint."""
    severity: Severity
    file: str
    line: int
    """Counted from 1."""
    reason: str
    fix: str

    def __str__(self) -> str:
        kind = f"CWE-{self.cwe}" if self.cwe is not None else "constraint"
        return f"{self.file}:{self.line}: {self.severity} {kind} {self.rule}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of one text, by line. ``errors`` say what was not examined, and why."""

    language: Language
    file: str
    findings: tuple[Finding, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all of the text was examined. A text that was not must not count as safe."""
        return not self.errors

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """Findings of this severity or worse."""
        return tuple(finding for finding in self.findings if finding.severity.reaches(severity))
