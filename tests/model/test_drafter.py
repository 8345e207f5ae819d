from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from model.engine.drafter import LONGEST, Drafter


def obvious(tokens: list[int], most: int) -> list[int]:
    """The latest earlier occurrence of the last three tokens, else two, by searching."""
    for size in (3, 2):
        for end in range(len(tokens) - 1, size - 1, -1):
            if len(tokens) > size and tokens[end - size : end] == tokens[-size:]:
                grown = list(tokens)
                for place in range(end, end + most):
                    grown.append(grown[place])
                return grown[len(tokens) :]
    return []


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=8), st.integers(1, 4))
def test_the_index_finds_what_a_search_finds(parts: list[list[int]], most: int) -> None:
    subject, tokens = Drafter(), list[int]()
    for part in parts:
        tokens += part
        assert subject.propose(tokens, most) == obvious(tokens, most)


def test_a_longer_match_is_preferred_and_the_latest_wins() -> None:
    assert Drafter().propose([1, 2, 3, 7, 9, 2, 3, 8, 1, 2, 3], 1) == [7]
    assert Drafter().propose([1, 2, 3, 7, 1, 2, 3, 8, 1, 2, 3], 1) == [8]
    assert Drafter().propose([1, 2, 3, 4], 4) == []


def test_what_repeats_is_guessed_on_beyond_the_end() -> None:
    subject = Drafter()
    tokens = [5, 1, 2, 1, 2, 1, 2]
    subject.learn(4, 4, 0)
    assert subject.propose(tokens, 7) == [1, 2, 1, 2, 1, 2, 1]


def test_lengths_follow_success() -> None:
    subject, tokens = Drafter(), [1, 2] * 40
    lengths = []
    for _ in range(4):
        drafts = subject.propose(tokens, 100)
        lengths.append(len(drafts))
        subject.learn(len(drafts), len(drafts), len(tokens))
    assert lengths == [4, 8, 16, LONGEST]
    subject.learn(16, 5, len(tokens))
    assert len(subject.propose(tokens, 100)) == 6


def test_guessing_pauses_where_it_fails_and_longer_each_time() -> None:
    subject, tokens, guesses = Drafter(), [1, 2] * 8, list[int]()
    for _ in range(400):
        tokens.append(tokens[-2])
        drafts = subject.propose(tokens, 8)
        if drafts:
            guesses.append(len(tokens))
            subject.learn(len(drafts), 0, len(tokens))
    assert len(guesses) < 14
    gaps = [later - earlier for earlier, later in pairwise(guesses[2:])]
    assert gaps == sorted(gaps)
    assert gaps[-1] > 4 * gaps[0]
    while not (drafts := subject.propose(tokens, 8)):
        tokens.append(tokens[-2])
    subject.learn(len(drafts), len(drafts), len(tokens))
    assert len(subject.propose(tokens, 8)) == 2, "one success, and it goes on"
