from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.evals.confidence_interval import wilson
from flightloop.errors import ConfigError
from model.tuner.evaluation import Scored
from model.tuner.gate.answers import LEAST, NAMES, compare_answers
from model.tuner.gate.benches import BenchRow, compare_benches, read_benches
from model.tuner.gate.figure import Allowance, Figure, Verdict

STRICT = Allowance(0.0, {})


def answers(count, loss=2.0, exact=1.0, kind="call", first=0):
    """One a row; the share ``exact`` of them is exact, and every other one is longer and less likely."""
    return [
        Scored(first + row, kind, 4 + 4 * (row % 2), loss * (4 + 4 * (row % 2)) * (1 + row % 2), row < exact * count)
        for row in range(count)
    ]


def by_name(figures):
    return {figure.name: figure for figure in figures}


@pytest.mark.parametrize(
    ("interval", "higher", "allowed", "verdict"),
    [
        ((0.01, 0.03), True, 0.0, Verdict.BETTER),
        ((0.01, 0.03), False, 0.0, Verdict.WORSE),
        ((0.01, 0.03), False, 0.02, Verdict.SAME),
        ((-0.03, -0.021), True, 0.02, Verdict.WORSE),
        ((-0.03, 0.01), True, 0.0, Verdict.SAME),
        ((-0.03, -0.01), False, 0.02, Verdict.BETTER),
        ((0.0, 0.0), True, 0.0, Verdict.SAME),
        (None, True, 0.0, Verdict.OPEN),
    ],
)
def test_the_verdict_needs_the_whole_interval(interval, higher, allowed, verdict):
    assert Figure("x", 0.0, 0.0, interval, higher, allowed).verdict is verdict


def test_the_same_answers_are_no_worse():
    for figure in compare_answers(answers(40), answers(40), STRICT, 0):
        assert figure.interval == (0.0, 0.0)
        assert figure.verdict is Verdict.SAME


def test_worse_answers_of_one_kind_are_found_among_better_ones():
    old = [*answers(40, exact=0.5), *answers(40, exact=0.5, kind="text", first=40)]
    new = [*answers(40, loss=1.0, exact=1.0), *answers(40, loss=2.5, exact=0.1, kind="text", first=40)]
    found = by_name(compare_answers(old, new, STRICT, 0))
    assert list(found) == ["loss_all", "exact_all", "loss_call", "exact_call", "loss_text", "exact_text"]
    assert set(found) <= set(NAMES)
    verdicts = {name: figure.verdict for name, figure in found.items() if not name.endswith("_all")}
    better, worse = Verdict.BETTER, Verdict.WORSE
    assert verdicts == {"loss_call": better, "exact_call": better, "loss_text": worse, "exact_text": worse}
    assert found["loss_call"].old == pytest.approx(2.0 * (4 + 16) / 12)
    assert found["exact_text"].difference == pytest.approx(-0.4)
    named = by_name(compare_answers(old, new, Allowance(0.0, {"loss_text": 3.0, "exact_text": 0.7}), 0))
    assert {named[name].verdict for name in ("loss_text", "exact_text")} == {Verdict.SAME}


def test_of_few_conversations_nothing_is_judged():
    old, new = answers(LEAST - 1), answers(LEAST - 1, loss=9.0)
    assert {figure.verdict for figure in compare_answers(old, new, STRICT, 0)} == {Verdict.OPEN}
    many = [replace(answer, row=answer.row % (LEAST - 1)) for answer in answers(4 * LEAST)]
    assert {figure.verdict for figure in compare_answers(many, many, STRICT, 0)} == {Verdict.OPEN}


def test_what_stands_in_one_conversation_is_drawn_together():
    """The same answers, each in a row of its own or four to a row: fewer draws, so a wider interval."""
    changed = [replace(answer, exact=answer.row % 8 < 4) for answer in answers(160)]
    alone = by_name(compare_answers(answers(160), changed, STRICT, 0))["exact_all"]
    rows = [[replace(answer, row=answer.row // 4) for answer in each] for each in (answers(160), changed)]
    together = by_name(compare_answers(*rows, STRICT, 0))["exact_all"]
    assert together.difference == alone.difference
    assert together.interval[1] - together.interval[0] > 1.5 * (alone.interval[1] - alone.interval[0])


@settings(deadline=None, max_examples=10)
@given(
    losses=st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), min_size=LEAST, max_size=60), seed=st.integers(0)
)
def test_an_interval_is_drawn_by_its_seed(losses, seed):
    old, new = ([Scored(row, "text", 3, pair[side], True) for row, pair in enumerate(losses)] for side in (0, 1))
    figures = compare_answers(old, new, STRICT, seed)
    assert figures == compare_answers(old, new, STRICT, seed)
    low, high = figures[0].interval
    assert min(b - a for a, b in losses) / 3 - 1e-9 <= low <= high <= max(b - a for a, b in losses) / 3 + 1e-9


def bench(value, interval=None, *, higher=True, cases=100):
    return BenchRow("row", value, higher, interval, cases)


def test_two_shares_differ_as_newcombe_says():
    """The first example of his paper: 56 of 70 and 48 of 80."""
    old, new = bench(0.6, wilson(0.6, 80)), bench(0.8, wilson(0.8, 70))
    low, high = compare_benches({"row": old}, {"row": new}, STRICT)[0].interval
    assert (low, high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    assert compare_benches({"row": new}, {"row": old}, STRICT)[0].verdict is Verdict.WORSE
    assert compare_benches({"row": new}, {"row": old}, Allowance(0.06, {}))[0].verdict is Verdict.SAME


def test_a_row_without_an_interval_is_judged_where_it_is_named():
    old, new = {"row": bench(20.0, higher=False)}, {"row": bench(20.5, higher=False)}
    assert compare_benches(old, new, STRICT)[0].verdict is Verdict.OPEN
    assert compare_benches(old, new, Allowance(0.0, {"row": 0.4}))[0].verdict is Verdict.WORSE
    assert compare_benches(old, new, Allowance(0.0, {"row": 0.6}))[0].verdict is Verdict.SAME


def test_benches_of_other_cases_are_refused():
    old = {"row": bench(0.5, (0.4, 0.6))}
    for new in ({"other": bench(0.5)}, {"row": bench(0.5, (0.4, 0.6), cases=99)}):
        with pytest.raises(ConfigError, match="row: measure both on the same cases"):
            compare_benches(old, new, STRICT)
    for pair in ((old, {}), ({}, old)):
        with pytest.raises(ConfigError, match="go together"):
            compare_benches(*pair, STRICT)
    assert compare_benches({}, {}, STRICT) == []


def test_rows_are_read_as_a_bench_writes_them(tmp_path):
    path, other = tmp_path / "a.json", tmp_path / "b.json"
    row = {"name": "row", "value": 0.5, "unit": "share", "higher_is_better": True, "interval": [0.4, 0.6], "cases": 100}
    path.write_text(json.dumps([row]))
    assert read_benches([path]) == {"row": bench(0.5, (0.4, 0.6))}
    other.write_text(path.read_text())
    with pytest.raises(ConfigError, match="repeats"):
        read_benches([path, other])
    for text in ("{", "[1]", "{}x", '[{"name": "x"}]', '[{"name": "x", "value": null, "higher_is_better": true}]', "3"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="no bench rows"):
            read_benches([path])


def test_an_allowance_names_figures_that_there_are():
    Allowance(0.0, {"a": 1.0}).check(["a", "b"])
    with pytest.raises(ConfigError, match="unknown figure c; known: a, b"):
        Allowance(0.0, {"c": 1.0}).check(["a", "b"])
