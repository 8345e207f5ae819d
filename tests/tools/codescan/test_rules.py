"""The rules' own cases, one by one, and that each rule has some."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from flightloop.errors import ConfigError
from tools.codescan import Language, scan
from tools.codescan.cases import Case, cases_of
from tools.codescan.checks import CHECKS
from tools.codescan.conditions import condition
from tools.codescan.ruleset import RULES, Rule, rules_of

CASES = [case for language in Language for case in cases_of(language)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{'bad' if case.bad else 'good'}-{case.number}")
def test_a_case_is_judged_as_its_rule_says(case: Case) -> None:
    report = scan(case.text, case.language)
    assert report.complete, report.errors
    if case.bad:
        assert case.rule in {finding.rule for finding in report.findings}
    else:
        assert [str(finding) for finding in report.findings] == []


def test_scans_side_by_side_find_what_scans_one_by_one_do() -> None:
    chosen = CASES[::6]

    def found(case: Case) -> list[str]:
        return [str(finding) for finding in scan(case.text, case.language).findings]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(found, chosen)) == list(map(found, chosen))


@pytest.mark.parametrize("language", Language)
def test_each_rule_has_cases_of_both_kinds(language: Language) -> None:
    known = {rule.id for rule in rules_of(language).rules}
    for bad in (True, False):
        assert {case.rule for case in CASES if case.language is language and case.bad is bad} == known


@pytest.mark.parametrize("language", Language)
def test_a_language_has_rules_for_many_weaknesses(language: Language) -> None:
    assert len({rule.cwe for rule in rules_of(language).rules}) >= 50


@pytest.mark.parametrize("language", Language)
def test_rules_are_written_completely(language: Language) -> None:
    rules = rules_of(language).rules
    assert len({rule.id for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.reason.endswith("."), rule.id
        assert rule.fix.endswith("."), rule.id
        assert bool(rule.check) != bool(rule.variants), rule.id
        assert not rule.check or rule.check in CHECKS, rule.id


def test_a_finding_has_the_line_and_the_words_of_its_rule() -> None:
    text = "import os\n\ndef ping(host):\n    os.system('ping ' + host)\n"
    (finding,) = scan(text, Language.PYTHON, "ping.py").findings
    rule: Rule = next(rule for rule in rules_of(Language.PYTHON).rules if rule.id == "python.command-injection")
    assert (finding.file, finding.line, finding.cwe) == ("ping.py", 4, 78)
    assert (finding.severity, finding.reason, finding.fix) == (rule.severity, rule.reason, rule.fix)


@pytest.mark.parametrize("wrong", [{"arg": 0, "flow": "sideways"}, {"arg": 0, "colour": 1}, {"weather": "fine"}])
def test_an_unknown_condition_is_an_error_that_names_it(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"unknown .*(sideways|colour|weather).*known"):
        condition(wrong)


def test_rule_files_hold_rules_and_knowledge_only() -> None:
    for language in Language:
        assert set(yaml.safe_load((RULES / f"{language}.yaml").read_text())) == {"knowledge", "rules"}
