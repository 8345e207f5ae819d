"""Measures the code scanner: on its rules' own cases, and on programs of strangers.

The programs in ``strangers/`` were written before the rules were tuned on any program but their own cases. The rules
were tuned on them after the first measurement, which `FIRST` records, so later figures on them are no longer blind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from agent.evals.confidence_interval import wilson
from bench.errors import BenchError
from bench.rows import Row
from tools.codescan import Language, Severity, scan
from tools.codescan.cases import cases_of

STRANGERS = Path(__file__).parent / "strangers"
FIRST = (
    "first measurement, before any tuning on these programs: recall 0.867 (26 of 30), false positives 0.133 (4 of 30)"
)
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
    """The rows ``scanner_recall`` and ``scanner_false_positives``, and the same of strangers' programs, by language."""
    rows = [*_own()]
    strangers = programs()
    for suffix, language in (("", None), *((f"_{language}", language) for language in Language)):
        rows += _on_strangers([one for one in strangers if language in (None, one.language)], suffix)
    return rows


def _own() -> list[Row]:
    """Rows on the rules' own cases. A good case must have no finding of any rule."""
    found: list[bool] = []
    alarms: list[bool] = []
    for case in (case for language in Language for case in cases_of(language)):
        rules = {finding.rule for finding in scan(case.text, case.language).findings}
        (found if case.bad else alarms).append(case.rule in rules if case.bad else bool(rules))
    return [
        _share("scanner_recall", found, "share", True, "on the cases that rules are written against"),
        _share("scanner_false_positives", alarms, "share", False, "on the rules' safe cases; any finding counts"),
    ]


def _on_strangers(chosen: Sequence[Program], suffix: str) -> list[Row]:
    found, alarms = [], []
    for program in chosen:
        report = scan(program.text, program.language, program.name)
        if program.weaknesses:
            found.append(any(finding.cwe in program.weaknesses for finding in report.findings))
        else:
            alarms.append(bool(report.at_least(LEAST)))
    note = FIRST if not suffix else None
    return [
        _share(f"scanner_strangers_recall{suffix}", found, "share", True, note),
        _share(f"scanner_strangers_false_positives{suffix}", alarms, "share", False, note),
    ]


def _share(name: str, outcomes: Iterable[bool], unit: str, higher: bool, note: str | None) -> Row:
    known = list(outcomes)
    return Row(
        name,
        sum(known) / len(known),
        unit,
        higher_is_better=higher,
        note=note,
        interval=wilson(sum(known) / len(known), len(known)),
        cases=len(known),
    )
