from __future__ import annotations

import math
from collections import Counter
from random import Random

import numpy as np
import pytest
import torch

from model.engine.masks import Masks
from model.engine.request import SamplingParams
from model.engine.sampler import Draw, choose, sample


def params(**options: float) -> SamplingParams:
    return SamplingParams(max_tokens=1, **options)  # type: ignore[arg-type]


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


def masks(*allowed: set[int] | None) -> Masks:
    """Of rows that may take these tokens; None: any."""
    place = iter(range(len(allowed)))
    places = [-1 if tokens is None else next(place) for tokens in allowed]
    words = [[sum(1 << t % 32 for t in tokens if t // 32 == word) for word in range(4)] for tokens in allowed if tokens]
    return Masks(np.array(words, np.uint32), np.array(places, np.int32))


def test_greedy_takes_the_likeliest() -> None:
    (token,) = sample(logits_of(0.2, 0.5, 0.3), [Draw(params(temperature=0), Random(0))])
    assert token.token == 1
    assert token.logprob == pytest.approx(math.log(0.5))
    assert token.entropy == pytest.approx(-sum(p * math.log(p) for p in (0.2, 0.5, 0.3)))


def test_figures_are_from_before_the_mask() -> None:
    draw = Draw(params(temperature=0, top_logprobs=2), Random(0))
    (token,) = sample(logits_of(0.2, 0.5, 0.3), [draw], masks({0}))
    assert token.token == 0
    assert token.logprob == pytest.approx(math.log(0.2))
    assert token.entropy == pytest.approx(-sum(p * math.log(p) for p in (0.2, 0.5, 0.3)))
    assert [index for index, _ in token.top] == [1, 2]
    assert [value for _, value in token.top] == pytest.approx([math.log(0.5), math.log(0.3)])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"temperature": 1.0}, (0.1, 0.6, 0.3)),
        ({"temperature": 0.5}, (0.01 / 0.46, 0.36 / 0.46, 0.09 / 0.46)),
        ({"temperature": 1.0, "top_p": 0.85}, (0, 0.6 / 0.9, 0.3 / 0.9)),
        ({"temperature": 1.0, "top_p": 0.5}, (0, 1, 0)),
    ],
)
def test_shares_follow_temperature_and_nucleus(options: dict[str, float], expected: tuple[float, ...]) -> None:
    draw = Draw(params(**options), Random(1))
    counts = Counter(sample(logits_of(0.1, 0.6, 0.3), [draw])[0].token for _ in range(3000))
    for token, share in enumerate(expected):
        assert counts[token] / 3000 == pytest.approx(share, abs=0.03)
        assert share or not counts[token]


def test_a_nucleus_wider_than_the_first_candidates_is_exact() -> None:
    logits = torch.zeros(1, 4096)
    drawn = {sample(logits.clone(), [Draw(params(top_p=0.99), Random(seed))])[0].token for seed in range(300)}
    assert len(drawn) > 250


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    temperatures = (1.0, 0.0, 0.7)

    def draw(temperature: float) -> Draw:
        return Draw(params(temperature=temperature), Random(7))

    together = sample(logits.clone(), [draw(each) for each in temperatures])
    alone = [sample(logits[row : row + 1].clone(), [draw(each)])[0] for row, each in enumerate(temperatures)]
    assert [each.token for each in together] == [each.token for each in alone]


def test_nothing_forbidden_is_drawn() -> None:
    random = Random(0)
    for top_p in (1.0, 0.9):
        draws = [Draw(params(temperature=2.0, top_p=top_p), random)] * 50
        tokens = sample(torch.randn(50, 100), draws, masks(*[{3, 97}] * 50))
        assert {each.token for each in tokens} == {3, 97}


def test_greedy_choices_are_the_reference_ones() -> None:
    logits = 5 * torch.randn(6, 100, generator=torch.Generator().manual_seed(1))
    allowed = [None, {3, 97}, {64}, None, set(range(32, 64)), set(range(100))]
    found = choose(logits, masks(*allowed))
    for row, some in zip(range(6), allowed, strict=True):
        logprobs = logits[row].log_softmax(0)
        token = max(some or range(100), key=lambda each: float(logprobs[each]))
        assert found.tokens[row] == token
        assert found.logprobs[row] == pytest.approx(float(logprobs[token]), abs=1e-5)
        assert found.entropies[row] == pytest.approx(-float((logprobs.exp() * logprobs).sum()), abs=1e-5)


def test_a_row_with_one_allowed_token_is_no_choice() -> None:
    random = Random(0)
    draws = [Draw(params(temperature=1.0), random)] * 3
    tokens = sample(torch.randn(3, 100), draws, masks({40}, None, {40, 41}))
    assert [each.free for each in tokens] == [False, True, True]
    assert tokens[0].token == 40
    later = Random(0)
    later.random()
    later.random()
    assert random.random() == later.random(), "no randomness is used up without a choice"


def test_penalties_take_from_what_the_answer_has_had() -> None:
    logits = logits_of(0.2, 0.5, 0.3)
    once = Draw(params(temperature=0, frequency_penalty=0.6), Random(0), {1: 1})
    (token,) = sample(logits, [once])
    assert token.token == 2  # 0.5 is 1.67 times 0.3, and e^0.6 is 1.8
    assert token.logprob == pytest.approx(math.log(0.3))  # figures are from before the penalty
    assert sample(logits, [Draw(params(temperature=0, presence_penalty=0.6), Random(0), {1: 9})])[0].token == 2
    assert sample(logits, [Draw(params(temperature=0, frequency_penalty=0.3), Random(0), {1: 1})])[0].token == 1
    assert sample(logits, [Draw(params(temperature=0, frequency_penalty=2), Random(0), {1: 1, 2: 1})])[0].token == 0


def test_a_penalty_breaks_no_mask() -> None:
    draw = Draw(params(temperature=0, frequency_penalty=2), Random(0), {1: 5})
    assert sample(logits_of(0.2, 0.5, 0.3), [draw], masks({1}))[0].token == 1
    hot = Draw(params(temperature=1.0, frequency_penalty=2), Random(0), {1: 5})
    assert {sample(logits_of(0.2, 0.5, 0.3), [hot], masks({0, 2}))[0].token for _ in range(50)} == {0, 2}
