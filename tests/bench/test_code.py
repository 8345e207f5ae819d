from __future__ import annotations

from pathlib import Path

import pytest

from bench.code.run import Wish, measure
from bench.code.scanner import programs
from bench.errors import BenchError
from tools.codescan import Language


def test_the_programs_are_half_vulnerable_in_each_language() -> None:
    for language in Language:
        chosen = [program for program in programs() if program.language is language]
        assert len(chosen) >= 30
        assert abs(2 * sum(bool(program.weaknesses) for program in chosen) - len(chosen)) <= 1
        assert len({program.name for program in chosen}) == len(chosen)
        assert all(program.text.count("\n") >= 25 for program in chosen)


def test_the_rows_meet_their_targets() -> None:
    rows = {row.name: row.value for row in measure(Wish(("scanner",)))}
    assert rows["scanner_recall"] >= 0.95
    assert rows["scanner_false_positives"] <= 0.05
    assert rows["scanner_strangers_recall"] >= 0.60


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="unknown compiler; known: scanner"):
        measure(Wish(("compiler",)))
    with pytest.raises(BenchError, match="cannot be read"):
        programs(tmp_path)
