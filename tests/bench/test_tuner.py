"""The tuner's measurement: rows and batches, our tuner on the tiny model, duels of trainers with an invented pace."""

from __future__ import annotations

import io
import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from bench.__main__ import app
from bench.engine.contest import OURS
from bench.engine.page import BEGIN, END
from bench.errors import BenchError
from bench.peers.protocol import Desk
from bench.peers.run_tuner import OurTuner
from bench.peers.training import Lesson, by_length, read, write
from bench.rows import Row
from bench.tuner.duel import DUELS
from bench.tuner.run import Wish, measure
from bench.tuner.workload import LENGTHS, lessons
from model.chat.compact import CompactChat
from model.weights.tiny import embedded_tokenizer, tiny_model

ROOT = Path(__file__).resolve().parents[2]


def lesson(tokens: int) -> Lesson:
    return Lesson([1000 + place % 7 for place in range(tokens)], [place % 3 == 2 for place in range(tokens)])


def measured(*against: str, docs: Path | None = None) -> dict[str, Row]:
    wish = Wish(
        against, steps=1, rounds=2, step_tokens=700, threads=1, docs=docs, ours="fake_tuner", other="fake_tuner"
    )
    return {row.name: row for row in measure(Console(file=io.StringIO()), wish)}


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 90), st.integers(0, 5))
def test_batches_have_rows_of_about_a_length(lengths: list[int], tokens: int, seed: int) -> None:
    rows = [lesson(length) for length in lengths]
    batches = by_length(rows, tokens, seed)
    assert sorted(len(row) for batch in batches for row in batch) == sorted(lengths)
    assert all(len(batch) == 1 or sum(map(len, batch)) <= tokens for batch in batches)
    spans = sorted((len(batch[0]), len(batch[-1])) for batch in batches)
    assert all(high <= low for (_, high), (low, _) in pairwise(spans))


def test_rows_are_composed_by_the_seed_and_come_back_from_their_file(tmp_path: Path) -> None:
    chat = CompactChat(embedded_tokenizer())
    rows = lessons(2_000, 3, chat)
    assert rows == lessons(2_000, 3, chat)
    assert rows != lessons(2_000, 4, chat)
    assert all(len(row) in LENGTHS and any(row.learned) for row in rows)
    assert 2_000 <= sum(map(len, rows)) < 2_000 + LENGTHS.stop
    write(tmp_path / "rows.jsonl", rows)
    assert [tuple(row.tokens) for row in read(tmp_path / "rows.jsonl")] == [tuple(row.tokens) for row in rows]


@pytest.mark.parametrize("recompute", [False, True])
def test_our_tuner_takes_one_batch_after_the_other(tmp_path: Path, recompute: bool) -> None:
    write(tmp_path / "rows.jsonl", [lesson(length) for length in (40, 45, 50)])
    options = {"rows": tmp_path / "rows.jsonl", "threads": 1, "step_tokens": 60, "recompute": recompute}
    desk = Desk(OurTuner(options, tiny_model().decoder))
    assert desk.answer({"task": "about"})["trained"] > 1_000
    answers = [desk.answer({"task": "train", "steps": steps}) for steps in (1, 1, 1, 3)]
    assert sorted(answer["tokens"] for answer in answers) == [40, 45, 50, 135]
    assert all(answer["seconds"] > 0 and math.isfinite(answer["loss"]) for answer in answers)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_ours_is_compared_with_the_better_peer() -> None:
    rows = measured(*DUELS)
    main, plain, compiled = (rows[f"tuning_{name}"] for name in ("throughput", "vs_peft", "vs_peft_compiled"))
    assert (main.peer, main.ratio) == (DUELS["peft_compiled"].shown, pytest.approx(0.5))
    assert main.peer_value == compiled.peer_value
    assert (plain.ratio, rows["tuning_vs_peft_own_loss"].ratio) == (pytest.approx(1.0), pytest.approx(2.0))
    assert rows["tuning_warmup_seconds"].ratio == pytest.approx(2.0)
    assert rows["tuning_memory"].ratio == pytest.approx(1.0, rel=0.2)
    assert rows["tuning_recompute"].value == pytest.approx(main.value / 3)
    assert rows["tuning_recompute"].ratio == pytest.approx(0.5)
    assert rows["tuning_recompute_memory"].value > 1
    assert all(math.isfinite(row.value) for row in rows.values())


def test_a_peer_that_fails_costs_its_figures_only() -> None:
    rows = measured("peft", "all_parameters")
    lost = rows["tuning_vs_all_parameters"]
    assert (lost.value, lost.peer_value) == (pytest.approx(1_000), None)
    assert "no memory for that" in (lost.note or "")
    alone = measured("all_parameters")
    assert alone["tuning_throughput"].value == pytest.approx(1_000)
    assert alone["tuning_throughput"].peer_value is None


def test_ours_can_be_measured_alone_and_figures_go_into_the_page(tmp_path: Path) -> None:
    (tmp_path / "tuning.md").write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    rows = measured(docs=tmp_path)
    assert list(rows) == ["machine", "tuning_throughput", "tuning_warmup_seconds", "tuning_memory"]
    assert all(row.peer is None for row in rows.values())
    assert OURS not in (tmp_path / "tuning.md").read_text()
    assert "| `tuning_throughput` |" in (tmp_path / "tuning.md").read_text()


def test_when_ours_fails_the_reason_is_said() -> None:
    out = Console(file=io.StringIO(), width=200)
    wish = Wish(("peft",), 1, 1, 700, 1, ours="fake", other="fake_tuner")
    [machine] = measure(out, wish)
    assert machine.name == "machine"
    assert "fake could not do train: ValueError: unknown task train" in out.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="unknown duel 'vllm'; choose from peft, "):
        measured("vllm")
    result = CliRunner().invoke(app, ["tuner", "--against", "vllm", "--json", str(tmp_path / "rows.json")])
    assert result.exit_code != 0
    assert not list(tmp_path.iterdir())


def test_the_page_in_the_documentation_takes_figures() -> None:
    text = (ROOT / "docs" / "tuning.md").read_text()
    assert BEGIN in text
    assert END in text.partition(BEGIN)[2]


def test_a_file_of_rows_is_json_lines(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [lesson(3)])
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == {
        "tokens": [1000, 1001, 1002],
        "learned": [False, False, True],
    }
