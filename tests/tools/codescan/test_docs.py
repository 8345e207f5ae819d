"""docs/code.md lists the rules as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.codescan import Language
from tools.codescan.ruleset import rules_of

PAGE = (Path(__file__).resolve().parents[3] / "docs/code.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", Language)
def test_the_table_has_all_rules(language: Language) -> None:
    rows = re.findall(r"^\| (\d+) \| `([\w-]+)` \| (\w*) \| (\w*) \|$", PAGE, re.MULTILINE)
    column = 2 + list(Language).index(language)
    listed = {(int(row[0]), f"{language}.{row[1]}", row[column]) for row in rows if row[column]}
    assert listed == {(rule.cwe, rule.id, rule.severity.value) for rule in rules_of(language).rules}
