"""The tagger's training: templates and their slots, the gradient, what is learnt from a few segments."""

import random

import numpy as np
import pytest
import regex

from guardrails.entities.features import WordColumns
from guardrails.entities.lexicon import Lexicon, WordList
from guardrails.entities.tagger import DEFAULT_WEIGHTS, ENTITIES, TAGS, Tagger, load_tagger, may_follow
from guardrails.entity_training.__main__ import encoded, quantised, spans
from guardrails.entity_training.compose import LANGUAGES, Example, read_pieces
from guardrails.entity_training.crf import fit, gradient
from guardrails.entity_training.noise import german, noise, scattered
from guardrails.entity_training.sources import templates
from guardrails.entity_training.values import Values

COMMON = ("water", "letter", "green", "table", "write", "question", "paper", "light")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_slot_of_a_template_is_known(language):
    known = Values(language, random.Random(1)).slots
    for name in (language, f"{language}_plain"):
        for template in templates(name):
            found = set(regex.findall(r"\{(\w+)(?:\}|:)", template))
            assert found <= known | set(ENTITIES)


@pytest.mark.parametrize(
    "slot", ["name", "title", "last", "date", "phone", "doc", "order", "amount", "time", "age", "nat"]
)
@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_a_slot_is_filled(language, slot):
    values = Values(language, random.Random(3))
    for _ in range(50):
        assert all(text for text, _ in values.of(slot))


def test_composed_pieces_are_read_as_tags():
    pieces = [("I am ", None), ("Anna Beck", "person"), (" from ", None), ("Kyiv", "place"), (". Hello.", None)]
    first, second = read_pieces(pieces)
    assert first.words == ("I", "am", "Anna", "Beck", "from", "Kyiv", ".")
    assert spans(first.tags) == {(2, 4, "person"), (5, 6, "place")}
    assert second == Example(("Hello", "."), (0, 0))


def test_texts_without_entities_have_no_slots():
    draw = random.Random(5)
    for _ in range(300):
        assert "{name}" not in noise(draw, COMMON) + german(draw)
    assert any("{name}" in scattered(draw, COMMON) for _ in range(50))


def test_the_gradient_is_that_of_the_likelihood():
    draw = np.random.default_rng(2)
    tags = np.array([[0, 1, 2, 0], [3, 4, 0, 5]])
    scores = draw.normal(size=(8, TAGS)).astype(np.float32)
    between = draw.normal(size=(TAGS, TAGS)).astype(np.float32)
    likelihood, slope, slope_between = gradient(scores, between, tags)
    step = 1e-2
    for row, tag in ((0, 0), (1, 1), (5, 7), (7, 5)):
        moved = scores.copy()
        moved[row, tag] += step
        assert (gradient(moved, between, tags)[0] - likelihood) / step == pytest.approx(slope[row, tag], abs=0.02)
    for before, tag in ((1, 2), (0, 1), (4, 4)):
        moved = between.copy()
        moved[before, tag] += step
        found = (gradient(scores, moved, tags)[0] - likelihood) / step
        assert found == pytest.approx(slope_between[before, tag], abs=0.02)


def test_a_few_segments_are_learnt():
    lexicon = Lexicon.of({"anna": WordList.FIRST_NAME, "paris": WordList.CITY})
    columns, draw = WordColumns(lexicon), random.Random(1)
    learnt = [Example(("I", "am", "Anna"), (0, 0, 1)), Example(("in", "Paris", "."), (0, 9, 0))] * 20
    weights = fit([encoded(one, columns, draw) for one in learnt], 3, 1, 0.2, 1e-5, lambda line: None)
    small, scale = quantised(weights)
    tagger = Tagger(small, scale, weights.transitions, lexicon)
    assert [(one.label, one.start, one.end) for one in tagger.find("I am Anna\n\nin Paris .")] == [
        ("person", 5, 9), ("place", 14, 19),
    ]  # fmt: skip


def test_tags_begin_before_they_go_on():
    assert may_follow(2, 1)
    assert may_follow(2, 2)
    assert not may_follow(2, 0)
    assert not may_follow(2, 3)
    assert may_follow(1, 2)


def test_a_word_is_on_the_lists_that_it_was_put_on():
    lexicon = Lexicon.of({"rose": WordList.FIRST_NAME | WordList.COMMON})
    assert lexicon.look_up("rose") == WordList.FIRST_NAME | WordList.COMMON
    assert lexicon.look_up("lily") == 0


def test_the_shipped_weights_are_small_and_others_are_refused(tmp_path):
    assert DEFAULT_WEIGHTS.stat().st_size < 2_000_000
    assert load_tagger().transitions.shape == (TAGS, TAGS)
    with pytest.raises(ValueError, match="not a tagger"):
        load_tagger(DEFAULT_WEIGHTS.with_name("content.safetensors"))
