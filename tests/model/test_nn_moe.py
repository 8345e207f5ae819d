"""The ways through the experts against a loop over tokens, and the router against its definition."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from model.nn.experts import Experts, Way, choose_way
from model.nn.moe import MoE, Router
from model.nn.shape import DecoderConfig
from model.weights.experts import BIAS
from model.weights.tiny import TINY, random_decoder


def experts_of(count, width, hidden, seed):
    generator = torch.Generator().manual_seed(seed)
    experts = Experts(count, width, hidden).requires_grad_(False)
    for parameter in experts.parameters():
        parameter.normal_(0, 0.4, generator=generator)
    return experts


def naive(experts, x_TD, choice_TA, weight_TA):
    out = torch.zeros_like(x_TD)
    for token, x in enumerate(x_TD):
        for expert, weight in zip(choice_TA[token].tolist(), weight_TA[token], strict=True):
            gate, up = experts.gate_up_EXD[expert].chunk(2)
            hidden = functional.silu(gate @ x) * (up @ x)
            out[token] += weight * (experts.down_DER[:, expert] @ hidden)
    return out


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(1, 9),
    count=st.integers(1, 6),
    active=st.integers(1, 3),
    width=st.integers(1, 12),
    hidden=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_every_way_equals_the_loop(tokens, count, active, width, hidden, seed):
    experts = experts_of(count, width, hidden, seed)
    torch.manual_seed(seed)
    x = torch.randn(tokens, width)
    weight, choice = torch.rand(tokens, count).topk(min(active, count), -1)
    expected = naive(experts, x, choice, weight)
    for way in Way:
        torch.testing.assert_close(experts.run(way, x, choice, weight), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(experts(x, choice, weight), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("pairs", "experts", "width", "way"),
    [(2, 8, 24, Way.ALL), (2000, 8, 24, Way.ALL), (2, 64, 1024, Way.GATHERED), (16, 64, 1024, Way.SORTED)],
)
def test_the_way_follows_size(pairs, experts, width, way):
    assert choose_way(pairs, experts, width) is way


def test_a_bias_changes_the_choice_and_not_the_weights():
    router = Router(replace(TINY, normalise=True))
    with torch.no_grad():
        router.weight_ED.normal_(generator=torch.Generator().manual_seed(0))
        x = torch.randn(50, TINY.width, generator=torch.Generator().manual_seed(1))
        before, _ = router(x)
        router.bias_E[2] = 2.0
        choice, weight = router(x)
    assert not (before == 2).any(1).all()
    assert (choice == 2).any(1).all()
    probability = (x @ router.weight_ED.T).softmax(-1).gather(1, choice)
    assert torch.allclose(weight, probability / probability.sum(1, keepdim=True), atol=1e-6)


@pytest.mark.parametrize("normalise", [True, False])
def test_router_takes_the_most_probable(normalise):
    shape = DecoderConfig(10, 1, 16, 2, 2, 8, 8, experts=6, expert_width=4, active=2, normalise=normalise)
    torch.manual_seed(1)
    moe = MoE(shape).requires_grad_(False)
    moe.router.weight_ED.normal_()
    x = torch.randn(5, 16)
    choice, weight = moe.router(x)
    probability = (x @ moe.router.weight_ED.T).softmax(-1)
    for token in range(5):
        best = probability[token].sort(descending=True)
        assert set(choice[token].tolist()) == set(best.indices[:2].tolist())
        total = best.values[:2].sum() if normalise else 1.0
        assert sorted(weight[token].tolist()) == pytest.approx(sorted((best.values[:2] / total).tolist()), rel=1e-5)


def test_part_keeps_the_right_experts():
    experts = experts_of(6, 5, 3, 0)
    part = experts.part(2, 4)
    assert part.count == 2
    x = torch.randn(4, 5)
    weight = torch.rand(4, 1)
    choice = torch.tensor([[0], [1], [1], [0]])
    torch.testing.assert_close(part(x, choice, weight), experts(x, choice + 2, weight))


def test_expert_tokens_are_counted_over_layers():
    from model.nn.attention import AttentionBatch, NoCache

    decoder = random_decoder(TINY, 0)
    batch = AttentionBatch.dense([3, 4])
    decoder(torch.arange(7), batch.positions_T, NoCache(), batch)
    assert decoder.expert_tokens_E.sum() == 7 * TINY.layers * TINY.active
    decoder(torch.arange(7), batch.positions_T, NoCache(), batch)
    assert decoder.expert_tokens_E.sum() == 2 * 7 * TINY.layers * TINY.active


def test_parameter_counts_equal_what_is_there():
    decoder = random_decoder(TINY, 0)
    total, active = decoder.config.parameter_counts()
    counted = [value for name, value in decoder.named_parameters() if not name.endswith(BIAS)]
    assert total == sum(parameter.numel() for parameter in counted)
    idle = (TINY.experts - TINY.active) * 3 * TINY.width * TINY.expert_width * TINY.layers
    assert active == total - idle
