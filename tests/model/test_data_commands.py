from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from model.tuner.data.commands import app
from model.tuner.data.overview import overview
from model.tuner.data.row import called, result, row, said, tool, write_rows

RAIN = tool("rain", "Tells of rain", {"place": {"type": "string"}}, ["place"])


def rainy(place, said_place=None):
    messages = [said("user", f"Will it rain in {said_place or place} tomorrow?"), called([("rain", {"place": place})])]
    return row("own", [*messages, result(0, "yes"), said("assistant", "Yes, take a coat.")], [RAIN])


@pytest.fixture
def run(tmp_path):
    def call(*arguments, code=0):
        done = CliRunner().invoke(app, [str(each) for each in arguments])
        assert done.exit_code == code, done.output
        return done.output

    return call


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    bad = row("own", [said("user", "Rain?"), called([("snow", {})])], [RAIN])
    write_rows(path, [rainy("Turin"), rainy("Turin"), bad, rainy("Oslo", "the north"), rainy("Lima")])
    with path.open("a") as file:
        file.write("not JSON\n")
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_cleaning_reports_what_it_left_out(run, rows, tmp_path):
    out = tmp_path / "clean" / "rows.jsonl"
    output = run("clean", rows, "--out", out)
    assert "rows.jsonl:3: a call of a tool that is not offered" in output
    assert lines(out) == [rainy("Turin"), rainy("Oslo", "the north"), rainy("Lima")]
    report = json.loads(out.with_suffix(".report.json").read_text())
    assert report == {
        "read": 5,
        "rows": 3,
        "bad": {"not JSON": 1, "a call of a tool that is not offered": 1},
        "bad_records": ["rows.jsonl:6: not JSON", "rows.jsonl:3: a call of a tool that is not offered"],
        "duplicates": {"exact": 1, "near": 0},
        "calls": 3,
        "calls_with_a_required_value_that_was_not_said": 1,
    }


def test_decontaminating_reports_cases_and_functions(run, rows, tmp_path):
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(json.dumps({"id": "t-9", "turns": [{"user": "Will it rain in Lima tomorrow"}]}))
    out = tmp_path / "left.jsonl"
    output = run("decontaminate", rows, "--against", tasks, "--out", out)
    assert "removed: resembles tasks.jsonl, t-9 (similar)" in " ".join(output.split())
    assert rainy("Lima") not in lines(out)
    report = json.loads((tmp_path / "left.report.json").read_text())
    assert report["read"] == 5
    assert report["taken_out"] == {"tasks.jsonl: similar": report["read"] - report["rows"]}


def test_converting_needs_a_set_and_its_folder(run, tmp_path):
    assert "there is no set 'x'" in str(CliRunner().invoke(app, ["convert", "x", ".", "--out", "y"]).exception)
    run("convert", "sgd", tmp_path, "--out", tmp_path / "out.jsonl", code=1)


def test_converting_writes_rows_and_a_report(run, tmp_path):
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    texts = [f"{wish} me {number}" for number in range(10) for wish in ("call", "feed")]
    table = "utterance,intent\n" + "\n".join(f"{text},{text[:4]}" for text in texts)
    (folder / "a.csv").write_text(table + "\n,call\n")
    out = tmp_path / "rows.jsonl"
    run("convert", "bitext", tmp_path, "--out", out, "--most", 4)
    assert len(lines(out)) == 4
    report = json.loads((tmp_path / "rows.report.json").read_text())
    assert report["bad_records"] == ["a.csv, record 22: no utterance or no intent"]


def test_showing_counts_answers_by_kind(run, rows):
    output = run("show", rows)
    assert "own" in output
    made = overview(
        [
            rainy("Rome"),
            row("own", [said("user", "Rain?"), said("assistant", "Where?")], [RAIN]),
            row("a", [said("user", "Why?"), said("assistant", "Why not?")]),
            row("a", [said("user", "x"), said("assistant", "{}")], response_format={"type": "json_object"}),
            row("a", [said("user", "x"), called([("rain", {"place": "A"}), ("rain", {"place": "B"})])], [RAIN]),
        ],
        measure=lambda row: 10,
    )
    assert list(made) == ["a", "own"]
    assert (made["own"].rows, made["own"].tokens, made["own"].tools, made["own"].calls) == (2, 20, 2, 1)
    assert made["own"].kinds == {"call": 1, "text": 1, "ask back": 1}
    assert made["a"].kinds == {"text": 1, "JSON": 1, "several": 1}
