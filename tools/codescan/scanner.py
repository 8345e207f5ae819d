"""Scans one text: parses it, follows its data, applies the rules. Nothing of the text is run or imported."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.codescan.bandit_tests import bandit_findings
from tools.codescan.checks import CHECKS
from tools.codescan.finding import Finding, Language, Report
from tools.codescan.flow import Flow
from tools.codescan.java_source import java_tree
from tools.codescan.limits import Budget, NotExamined, ScanLimits
from tools.codescan.node import Kind, Node
from tools.codescan.python_source import parse_python, python_tree
from tools.codescan.ruleset import Rule, rules_of
from tools.codescan.secrets import lines_with_secrets
from tools.codescan.site import Module, Site

_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction of text, by which code can look like other code (trojansource.codes)."""
Found = dict[tuple[str, int], Finding]


def scan(text: str, language: Language, file: str = "<text>", limits: ScanLimits | None = None) -> Report:
    """Finds weaknesses in a program.

    Args:
        text: the program's source.
        file: name for the findings.
        limits: bounds of size and time.

    Returns:
        A report. What is not valid, or beyond a limit, is an error in the report; the rest is examined. Never raises
        for any text.
    """
    limits = limits or ScanLimits()
    text = text.removeprefix("\ufeff")
    if len(text) > limits.characters:
        error = f"{len(text)} characters; the limit is {limits.characters}: split the file"
        return Report(language, file, errors=(error,))
    return _Scan(text, language, file, limits).report()


class _Scan:
    def __init__(self, text: str, language: Language, file: str, limits: ScanLimits) -> None:
        self._text, self._language, self._file, self._limits = text, language, file, limits
        self._budget = Budget(limits)
        self._rules = rules_of(language)
        self._checks = [rule for rule in self._rules.rules if rule.check]
        self._found: Found = {}
        self._errors: list[str] = []

    def report(self) -> Report:
        lines = self._text.split("\n")
        try:
            self._find_in_lines(lines)
            tree = self._tree()
            self._flow(tree, lines)
            if self._language is Language.PYTHON:
                self._keep(bandit_findings(self._text, self._file))
        except NotExamined as error:
            self._errors.append(str(error))
        except RecursionError:
            self._errors.append("nested too deeply; split the code into functions")
        except Exception as error:  # a scanner that fails must not look like a safe text
            self._errors.append(f"the scanner failed: {type(error).__name__}: {error}")
        findings = tuple(sorted(self._found.values(), key=lambda one: (one.line, -one.severity.rank, one.rule)))
        return Report(self._language, self._file, findings[: self._limits.findings], tuple(self._errors))

    def _tree(self) -> Node:
        if self._language is Language.PYTHON:
            return python_tree(parse_python(self._text), self._budget)
        tree, errors = java_tree(self._text, self._budget)
        self._errors += errors
        return tree

    def _flow(self, tree: Node, lines: list[str]) -> None:
        imports = frozenset(node.name for node in tree.walk() if node.kind is Kind.IMPORT)
        module = Module(tree, lines, imports=imports)
        module.calls |= {node.name for node in tree.calls()}
        Flow(self._rules.knowledge, self._budget, module, self._judge).run()

    def _judge(self, sites: list[Site]) -> None:
        for site in sites:
            self._budget.check_time()
            for rule in self._rules.matching(site):
                self._add(rule, site.line)
        for rule in self._checks:
            self._budget.check_time()
            for line in CHECKS[rule.check](sites):
                self._add(rule, line)

    def _rule(self, name: str) -> Rule:
        return next(rule for rule in self._rules.rules if rule.id == f"{self._language}.{name}")

    def _find_in_lines(self, lines: list[str]) -> None:
        rule = self._rule("hard-coded-secret")
        for line, kind in lines_with_secrets(lines, self._budget):
            self._add(rule, line, f"{rule.reason} ({kind})")
        for number in (number for number, line in enumerate(lines, 1) if _BIDI.search(line)):
            self._add(self._rule("trojan-source"), number)
        for number in _long_lines(lines, self._limits):
            self._errors.append(f"line {number}: more than {self._limits.line_characters} characters")

    def _keep(self, findings: list[Finding]) -> None:
        """Keeps findings of another tool, unless a rule found the same weakness in the same line."""
        known = {(finding.cwe, finding.line) for finding in self._found.values()}
        for finding in findings:
            if (finding.cwe, finding.line) not in known and len(self._found) < self._limits.findings:
                self._found[finding.rule, finding.line] = finding

    def _add(self, rule: Rule, line: int, reason: str = "") -> None:
        if len(self._found) >= self._limits.findings:
            return
        self._found.setdefault(
            (rule.id, line),
            Finding(rule.id, rule.cwe, rule.severity, self._file, line, reason or rule.reason, rule.fix),
        )


def _long_lines(lines: list[str], limits: ScanLimits) -> Iterator[int]:
    return (number for number, line in enumerate(lines, 1) if len(line) > limits.line_characters)
