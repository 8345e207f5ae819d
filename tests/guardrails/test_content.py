import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from flightloop.verdicts import Action, Stage
from guardrails.rail_entries import ContentEntry
from guardrails.rails.content import CATEGORIES, DEFAULT_WEIGHTS, content_rail, load_content_model
from guardrails.text.ngrams import BUCKETS, features, prepare, windows
from guardrails.train_content import Example, auc, quantised, scores, train
from guardrails.types import Checked, GuardContext

MODEL = load_content_model(DEFAULT_WEIGHTS)
RUDE = "shut up you stupid bitch"
POLITE = ["Where is my order?", "I am very disappointed, please refund me.", "The black bag is torn."]


def test_the_weights_are_small():
    assert DEFAULT_WEIGHTS.stat().st_size < 1 << 20
    assert MODEL.weights.shape == (len(CATEGORIES), BUCKETS)


@pytest.mark.parametrize("text", POLITE)
def test_abuse_scores_far_above_a_complaint(text):
    assert MODEL.scores(RUDE)["toxicity"] > 0.9
    assert MODEL.scores(text)["toxicity"] < 0.5


def test_abuse_is_seen_within_a_long_text():
    long = "Thank you for your kind answer about my order. " * 30
    assert MODEL.scores(long + RUDE + ". " + long)["toxicity"] > 0.7 > MODEL.scores(long)["toxicity"]


@given(st.text(max_size=900))
def test_every_text_has_scores(text):
    assert all(0 <= value <= 1 for value in MODEL.scores(text).values())


@given(st.text(max_size=200))
def test_features_are_distinct_buckets(text):
    found = features(text)
    assert len(found) == len(np.unique(found))
    assert (found < BUCKETS).all()


@given(st.text("ab", max_size=1500))
def test_windows_cover_the_text(text):
    pieces = list(windows(text, size=280, stride=200))
    assert "".join(piece[:200] for piece in pieces[:-1]) + pieces[-1] == text
    assert all(len(piece) <= 280 for piece in pieces)


def test_where_a_text_comes_from_is_not_a_feature():
    assert prepare("RT @Bob: Soooo GOOD &amp; https://t.co/x") == ": soo good"


async def test_the_rail_blocks_from_its_threshold_on():
    checked = Checked(Stage.FINAL, RUDE, GuardContext())
    verdict = (await content_rail(ContentEntry(rail="content", block_at=0.9), None)(checked)).verdicts[0]
    assert verdict.action is Action.BLOCK
    assert set(verdict.scores) == set(CATEGORIES)
    assert (await content_rail(ContentEntry(rail="content"), None)(checked)).action is Action.ALLOW


def test_another_models_weights_are_refused(tmp_path):
    small = {
        "weights": np.zeros((1, 8), np.int8),
        "scale": np.ones(1, np.float32),
        "bias": np.zeros(1, np.float32),
    }
    save_file(small, tmp_path / "small.safetensors")
    with pytest.raises(ValueError, match="not a content classifier"):
        load_content_model(tmp_path / "small.safetensors")


def test_training_learns_what_separates_two_kinds():
    examples = [
        Example("made", f"{word} number {index}", (label, label))
        for index in range(30)
        for word, label in (("apples", 1.0), ("pears", 0.0))
    ]
    weights, biases = train(examples, epochs=2, seed=1)
    small, scale = quantised(weights)
    restored = small * scale[:, None]
    assert auc(scores(["apples 99"] * 3, restored, biases, 0), scores(["pears 99"] * 3, restored, biases, 0)) == 1.0


def test_auc():
    ones, zeros = np.array([3.0, 2.0], np.float32), np.array([1.0, 2.0], np.float32)
    assert auc(ones, zeros) == pytest.approx(0.875)
