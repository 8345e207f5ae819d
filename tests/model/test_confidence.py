"""What is gained and lost when unsure calls are not made."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from model.tuner.confidence import LEAST, Level, levels
from model.tuner.data.row import called, said
from model.tuner.mistakes import Answered

HILO, BERN = called([("weather", {"city": "Hilo"})]), called([("weather", {"city": "Bern"})])
WORDS = said("assistant", "Which city?")
answered = st.builds(
    Answered,
    asked=st.just({}),
    right=st.sampled_from([HILO, WORDS]),
    given=st.sampled_from([HILO, BERN, WORDS]),
    confidence=st.none() | st.floats(0, 1),
)


def test_levels_count_both_ways() -> None:
    found = levels(
        [
            Answered({}, HILO, HILO, 0.6),
            Answered({}, HILO, BERN, 0.05),
            Answered({}, WORDS, HILO, 0.2),
            Answered({}, WORDS, WORDS, 0.9),
        ],
        [0, 0.1, 0.3],
    )
    assert found == [Level(0, 0.5, 0.5, 1 / 3), Level(0.1, 0.5, 0.5, 1 / 2), Level(0.3, 0.5, 1.0, 1.0)]
    assert [level.score for level in found] == [0.5, 0.5, 0.75]


@given(st.lists(answered, max_size=30))
def test_who_asks_for_more_gets_fewer_calls(given: list[Answered]) -> None:
    found = levels(given)
    assert [level.least for level in found] == list(LEAST)
    for low, high in pairwise(found):
        assert high.right <= low.right
        assert high.quiet >= low.quiet
    assert all(0 <= share <= 1 for level in found for share in (level.right, level.quiet, level.precision))
