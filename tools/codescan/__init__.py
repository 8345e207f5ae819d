"""Finds weaknesses in Python and Java without running them: ``scan(text, language)`` returns a report."""

from tools.codescan.finding import Finding, Language, Report, Severity
from tools.codescan.limits import ScanLimits
from tools.codescan.scanner import scan

__all__ = ["Finding", "Language", "Report", "ScanLimits", "Severity", "scan"]
