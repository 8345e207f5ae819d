from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from threading import get_ident

import numpy as np

from flightloop.errors import InternalError
from model.engine.generation import Generation
from model.engine.masks import MaskWriter, Words
from model.engine.request import EngineRequest, SamplingParams
from model.engine.sequence import Sequence as RequestSequence
from model.engine.vocabulary import Vocabulary
from model.weights.tiny import embedded_tokenizer

SIZE = 70


class Allowing:
    """Allows one token at first, and one more after each draft."""

    def __init__(self, first: int | None) -> None:
        self.first = first
        self.thread = 0

    @property
    def constrained(self) -> bool:
        return self.first is not None

    def constrain(self, drafts: Sequence[int], words_RW: Words) -> None:
        self.thread = get_ident()
        words_RW.fill(0)
        assert self.first is not None
        for row in range(1 + len(drafts)):
            for token in range(self.first, self.first + row + 1):
                words_RW[row, token // 32] |= np.uint32(1 << token % 32)


def test_without_a_grammar_there_are_no_masks() -> None:
    assert MaskWriter(SIZE).begin([(Allowing(None), (1, 2))])() is None
    assert MaskWriter(SIZE).begin([])() is None


def test_masks_belong_to_their_rows_and_are_written_elsewhere() -> None:
    subjects = [Allowing(None), Allowing(31), Allowing(None), Allowing(64)]
    masks = MaskWriter(SIZE).begin(
        [(each, drafts) for each, drafts in zip(subjects, [(5,), (6, 7), (), ()], strict=True)]
    )()
    assert masks is not None
    assert masks.words_MW.shape == (4, 3)
    assert masks.place_N.tolist() == [-1, -1, 0, 1, 2, -1, 3]
    assert masks.free_N == [True, True, False, True, True, True, False]
    assert [np.flatnonzero(masks.allowed(row, SIZE)).tolist() for row in (2, 3, 4, 6)] == [
        [31],
        [31, 32],
        [31, 32, 33],
        [64],
    ]
    assert masks.allows(0, 69)
    assert masks.allows(3, 32)
    assert not masks.allows(2, 32)
    assert subjects[1].thread == subjects[3].thread != get_ident()


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary(embedded_tokenizer(), 49_152)


def test_a_grammar_that_fails_ends_its_own_request() -> None:
    request = EngineRequest("a", (1, 2, 3), SamplingParams(8, temperature=0), grammar='start: "yes" | "no"')
    generation = Generation(RequestSequence(request, 0, 0), vocabulary(), 64, 0.0)
    masks = MaskWriter(49_152).begin([(generation, tuple(vocabulary().tokenizer.encode("perhaps")))])()
    assert masks is not None
    assert isinstance(generation.error, InternalError)
    assert masks.free_N == [True] * len(masks.free_N), "its rows can be drawn, though nobody takes them"
    output = generation.abort(1.0)
    assert output.last
    assert output.error is generation.error
