"""What conversations have in common is computed once, and nothing of what is learned changes by that."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.nn.causal import attend
from model.tuner import sharing
from model.tuner.examples import Example
from model.tuner.objective import losses
from model.tuner.sharing import ALIKE, grouped, lay
from model.weights.experts import expert_state
from model.weights.tiny import TINY, random_decoder

LETTERS = st.integers(1, 3)


@st.composite
def conversations(draw) -> list[Example]:
    """Some begin alike, some go on alike, some are the same."""
    openings = draw(st.lists(st.lists(LETTERS, min_size=ALIKE - 2, max_size=ALIKE + 4), min_size=1, max_size=3))
    endings = draw(
        st.lists(st.tuples(st.sampled_from(openings), st.lists(LETTERS, max_size=6)), min_size=1, max_size=9)
    )
    return [Example((*opening, *ending), (False,) * (len(opening) + len(ending))) for opening, ending in endings]


@given(conversations())
def test_each_conversation_is_there_in_its_order(batch):
    laid = lay(batch)
    assert sum(laid.lengths) == len(laid.tokens)
    start = 0
    for example, rows, length, begun in zip(batch, laid.rows, laid.lengths, laid.begun, strict=True):
        assert tuple(laid.tokens[row] for row in rows) == example.tokens
        assert rows == (*begun, *range(start, start + length))
        assert length
        assert all(row < start for row in begun)
        start += length


@given(conversations(), st.integers(ALIKE, 4 * ALIKE), st.integers(0, 100))
def test_groups_hold_each_conversation_once_and_are_not_larger_than_they_say(examples, tokens, seed):
    groups = grouped(examples, tokens, seed)
    assert sorted(each.tokens for group in groups for each in group.examples) == sorted(one.tokens for one in examples)
    for group in groups:
        assert len(lay(group.examples).tokens) <= len(group)
        assert len(group) <= tokens or len(group.examples) == 1


def test_groups_in_a_batch_are_as_large_as_alone():
    """A chat template's first words are the same for all groups."""
    preamble = tuple(range(ALIKE))
    examples = [
        Example((*preamble, *(100 * family + place for place in range(80)), 7, last), (False,) * (ALIKE + 82))
        for family in range(4)
        for last in range(5)
    ]
    groups = grouped(examples, 10_000, 1)
    assert [len({example.tokens[ALIKE] for example in group.examples}) for group in groups] == [1] * 4
    together = lay([example for group in groups for example in group.examples])
    assert len(together.tokens) <= sum(map(len, groups))


def conversation(beginning: int, ending: int, length: int) -> Example:
    """Random tokens, the same ones for the same number; about half of them are learned."""
    tokens = [
        *torch.randint(1, 100, (ALIKE + 9,), generator=torch.Generator().manual_seed(beginning)).tolist(),
        *torch.randint(1, 100, (length,), generator=torch.Generator().manual_seed(ending)).tolist(),
    ]
    return Example(tuple(tokens), tuple(place % 2 == 1 for place in range(len(tokens))))


@pytest.mark.parametrize("windows", [False, True])
def test_losses_and_gradients_are_those_of_conversations_side_by_side(windows, monkeypatch):
    config = replace(TINY, windows=(24, 0), sinks=4) if windows else TINY
    decoder = random_decoder(config, 0).requires_grad_(False)
    trained = [value for value in expert_state(dict(decoder.named_parameters())).values() if value.is_floating_point()]
    for parameter in trained:
        parameter.requires_grad_(True)
    batch = (conversation(1, 1, 9), conversation(2, 2, 3), conversation(1, 3, 1), conversation(1, 4, 30))

    def measured():
        found = losses(decoder, batch)
        return found.loss_N.detach(), torch.autograd.grad(found.loss_N.sum(), trained, allow_unused=True)

    shared = measured()
    assert len(lay(batch).tokens) < sum(map(len, batch))
    monkeypatch.setattr(sharing, "ALIKE", 10_000)
    assert len(lay(batch).tokens) == sum(map(len, batch))
    apart = measured()
    torch.testing.assert_close(shared[0], apart[0], atol=1e-5, rtol=1e-5)
    for found, wanted in zip(shared[1], apart[1], strict=True):
        if wanted is not None:
            assert float((found - wanted).norm()) <= 1e-4 * float(wanted.norm())


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(0, 40), st.sampled_from([(4, 2), (3, 1)]), st.integers(0, 100))
def test_attention_that_is_learned_through_is_as_exact_as_torchs_in_bfloat16(queries, before, heads, seed):
    torch.manual_seed(seed)
    given_QNH = torch.randn(queries, heads[0], 32)
    tensors = [torch.randn(rows, count, 32) for rows, count in ((queries, heads[0]), (queries + before, heads[1]))]
    tensors.append(torch.randn(queries + before, heads[1], 32))
    hidden = torch.arange(queries + before) > torch.arange(before, queries + before).unsqueeze(1)

    def found(dtype: torch.dtype) -> list[torch.Tensor]:
        ours = [tensor.to(dtype).requires_grad_(True) for tensor in tensors]
        mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, float("-inf")) if before else None
        mixed = attend(*ours, mask)
        return [mixed.detach(), *torch.autograd.grad(mixed, ours, given_QNH.to(dtype))]

    for rounded, exact in zip(found(torch.bfloat16), found(torch.float32), strict=True):
        assert float((rounded.float() - exact).norm()) < 0.03 * float(exact.norm()) + 1e-2
