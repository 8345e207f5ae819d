from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.probes.metrics import auc, recall
from model.probes.texts import LABELS, NONE, OVERRIDE, composed, marked

WORDS = st.text(st.characters(exclude_characters="[]"), min_size=1, max_size=9)


def test_composed_texts_have_labels_spans_and_no_open_slots() -> None:
    texts = composed()
    assert len(texts) > 2000
    for text in texts:
        assert text.label in LABELS[text.axis]
        assert text.wanted == (text.label != NONE)
        assert "[[" not in text.text
        assert all(text.text[start:end] for start, end in text.spans)
        assert text.wanted or not text.spans, text
        assert text.place == "user" or text.axis == "injection"
    assert {text.place for text in texts if text.label == OVERRIDE} == {"user"}
    assert {text.place for text in texts if text.label == "order"} == {"result"}
    assert texts == composed()
    assert texts != composed(seed=1)


@given(st.lists(st.tuples(WORDS, st.booleans()), max_size=8))
def test_marks_are_removed_and_their_ranges_kept(parts: list[tuple[str, bool]]) -> None:
    text, spans = marked("".join(f"[[{word}]]" if inside else word for word, inside in parts))
    assert text == "".join(word for word, _ in parts)
    assert [text[start:end] for start, end in spans] == [word for word, inside in parts if inside]


def test_a_wrong_label_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("axis: harm\nlanguage: en\ntexts:\n  - [rude, hello]\n")
    with pytest.raises(ValueError, match=r"bad\.yaml: ValueError: entry 1: no label 'rude' on the axis harm"):
        composed(folder=tmp_path)


def test_metrics() -> None:
    wanted, others = np.array([0.9, 0.5, 0.1]), np.array([0.5, *[0.0] * 99])
    assert auc(wanted, others) == pytest.approx((100 + 99.5 + 99) / 300)
    assert recall(wanted, others, 0.01) == 1.0
    assert recall(wanted, others, 0.0) == pytest.approx(1 / 3)
