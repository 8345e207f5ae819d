"""The rules' own cases: programs that a rule must find something in, and programs without a finding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.codescan.finding import Language
from tools.codescan.ruleset import Loader

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One program. ``bad``: the rule finds something in it; otherwise no rule does."""

    rule: str
    language: Language
    bad: bool
    text: str
    number: int


def cases_of(language: Language) -> list[Case]:
    """All cases of a language's rules."""
    document = yaml.load((CASES / f"{language}.yaml").read_text(encoding="utf-8"), Loader)
    return [
        Case(f"{language}.{rule}", language, kind == "bad", text, number)
        for rule, kinds in document.items()
        for kind, texts in kinds.items()
        for number, text in enumerate(texts)
    ]
