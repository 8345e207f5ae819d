"""Measures the code scanner: on its rules' own cases, and on programs of strangers.

The programs in ``strangers/`` were written before the rules were tuned on any program but their own cases, those in
``strangers/second/`` after the rules were tuned on the first, those in ``strangers/third/`` after both. Each set was
measured once before the rules were changed for it; `FIRST` records these figures. Later figures on the same programs
are no longer blind. One author wrote the rules and the programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from agent.evals.confidence_interval import wilson
from bench.errors import BenchError
from bench.rows import Row
from tools.codescan import Language, Severity, scan
from tools.codescan.cases import cases_of

STRANGERS = Path(__file__).parent / "strangers"
SETS = {
    "strangers": STRANGERS,
    "strangers_second": STRANGERS / "second",
    "strangers_third": STRANGERS / "third",
}
FIRST = {
    "strangers": "first, blind measurement: recall 0.867 (26 of 30), false positives 0.133 (4 of 30)",
    "strangers_second": "first, blind measurement: recall 0.923 (12 of 13), false positives 0.083 (1 of 12)",
    "strangers_third": "first, blind measurement: recall 0.875 (7 of 8), false positives 0.000 (0 of 8)",
}
LEAST = Severity.MEDIUM
"""Findings in safe programs count from this severity on, as for the guard's rail."""


@dataclass(frozen=True)
class Program:
    """A labelled program. ``weaknesses``: numbers of CWEs of which one must be found; empty if it is safe."""

    name: str
    language: Language
    weaknesses: frozenset[int]
    text: str


def programs(folder: Path = STRANGERS) -> list[Program]:
    """The labelled programs of a folder. Raises BenchError: a file can't be read."""
    try:
        return [
            Program(one["name"], language, frozenset(one["cwe"]), one["text"])
            for language in Language
            for one in yaml.safe_load((folder / f"{language}.yaml").read_text(encoding="utf-8"))
        ]
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise BenchError(f"{folder}: cannot be read: {error}") from None


def measure() -> list[Row]:
    """The rows ``scanner_recall`` and ``scanner_false_positives``, and the same of strangers' programs."""
    rows = _own()
    for name, folder in SETS.items():
        chosen = programs(folder)
        rows += _on_strangers(name, chosen, FIRST[name])
        for language in Language:
            rows += _on_strangers(f"{name}_{language}", [one for one in chosen if one.language is language], None)
    return rows


def _own() -> list[Row]:
    """Rows on the rules' own cases. A good case must have no finding of any rule."""
    found: list[bool] = []
    alarms: list[bool] = []
    for case in (case for language in Language for case in cases_of(language)):
        rules = {finding.rule for finding in scan(case.text, case.language).findings}
        (found if case.bad else alarms).append(case.rule in rules if case.bad else bool(rules))
    return [
        _share("scanner_recall", found, True, "on the cases that rules are written against"),
        _share("scanner_false_positives", alarms, False, "on the rules' safe cases; any finding counts"),
    ]


def _on_strangers(name: str, chosen: Sequence[Program], note: str | None) -> list[Row]:
    found, alarms = [], []
    for program in chosen:
        report = scan(program.text, program.language, program.name)
        if program.weaknesses:
            found.append(any(finding.cwe in program.weaknesses for finding in report.findings))
        else:
            alarms.append(bool(report.at_least(LEAST)))
    return [
        _share(f"scanner_{name}_recall", found, True, note),
        _share(f"scanner_{name}_false_positives", alarms, False, note),
    ]


def _share(name: str, outcomes: Sequence[bool], higher: bool, note: str | None) -> Row:
    share, cases = sum(outcomes) / len(outcomes), len(outcomes)
    interval = wilson(share, cases)
    return Row(name, share, "share", higher_is_better=higher, note=note, interval=interval, cases=cases)
