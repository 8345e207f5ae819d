"""Blocks of layers with and without a window, held side by side."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from model.engine.block_groups import BlockGroups, HeldBlocks, Span
from model.engine.block_pool import BlockPool, extend_keys

SIZE = 4


def groups(window: int = 8, sinks: int = 4, full: int = 64, near: int = 64) -> BlockGroups:
    return BlockGroups(BlockPool(full, SIZE), BlockPool(near, SIZE), Span(window, sinks))


def keys_of(tokens: list[int]) -> list[bytes]:
    keys: list[bytes] = []
    extend_keys(keys, tokens, SIZE, "t")
    return keys


def compute(subject: BlockGroups, held: HeldBlocks, tokens: list[int], start: int, stop: int) -> None:
    """A step that brings the tokens from ``start`` to ``stop``, as the scheduler does it."""
    subject.grow(held, subject.blocks_for(stop) - len(held))
    subject.cover(held, stop)
    keys = keys_of(tokens)
    for index in range(start // SIZE, stop // SIZE):
        subject.publish(held, index, keys[index])
    subject.advance(held, stop)


def seen(position: int, span: Span) -> set[int]:
    """Blocks that tokens from ``position`` on see, counted token by token."""
    return {j // SIZE for j in range(position) if j < span.sinks or any(q - j < span.window for q in [position])}


def test_without_windows_there_is_one_group() -> None:
    subject = BlockGroups(BlockPool(8, SIZE))
    held = HeldBlocks()
    compute(subject, held, [*range(10)], 0, 10)
    assert len(held) == 3
    assert held.near_table() == ()
    subject.check_integrity([held])
    subject.release(held)
    assert subject.match(keys_of([*range(10)])).full == [0, 1]


def test_blocks_behind_the_window_go_back_but_the_sinks_stay() -> None:
    subject = groups(window=8, sinks=5)
    held = HeldBlocks()
    tokens = [*range(40)]
    for stop in range(1, 41):
        compute(subject, held, tokens, stop - 1, stop)
    assert held.gap == range(2, 8)
    assert held.near_table() == (*held.near[:2], 0, 0, 0, 0, 0, 0, *held.near[8:])
    assert len(held.near_held) == 4
    subject.check_integrity([held])


def test_the_table_is_as_long_as_the_full_one() -> None:
    subject = groups()
    held = HeldBlocks()
    subject.grow(held, 5)
    subject.cover(held, 8)
    assert held.near_table() == (*held.near, 0, 0, 0)
    subject.shrink(held, 1)
    assert held.near_table() == tuple(held.near)
    assert len(held.near) == 1
    subject.check_integrity([held])


def test_a_prefix_is_reused_at_its_end_with_a_gap_in_the_middle() -> None:
    subject = groups(window=8, sinks=4)
    held = HeldBlocks()
    tokens = [*range(41)]
    for stop in range(1, 42):
        compute(subject, held, tokens, stop - 1, stop)
    near = list(held.near)
    subject.release(held)
    again = subject.match(keys_of(tokens))
    assert len(again) == 10
    assert again.gap == range(1, 8)
    assert again.near == [near[0], *[0] * 7, *near[8:10]]
    subject.check_integrity([again])


def test_a_prefix_whose_sinks_are_gone_is_not_reused() -> None:
    subject = groups(window=4, sinks=8, near=6)
    held = HeldBlocks()
    tokens = [*range(16)]
    compute(subject, held, tokens, 0, 16)
    subject.release(held)
    other = HeldBlocks()
    compute(subject, other, [99] * 24, 0, 24)  # takes every block of the second group
    subject.release(other)
    assert len(subject.match(keys_of(tokens))) == 0


def test_integrity_notices_a_leak_in_either_group() -> None:
    subject = groups()
    held = HeldBlocks()
    subject.grow(held, 1)
    with pytest.raises(AssertionError):
        subject.check_integrity([])
    subject.cover(held, 4)
    held.near.clear()
    with pytest.raises(AssertionError):
        subject.check_integrity([held])


@settings(max_examples=60, deadline=None)
@given(window=st.integers(1, 20), sinks=st.integers(0, 9), cuts=st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_what_is_seen_is_held_and_no_sequence_holds_more_than_told(window: int, sinks: int, cuts: list[int]) -> None:
    span = Span(window, sinks)
    subject = BlockGroups(BlockPool(64, SIZE), BlockPool(span.most_blocks(SIZE, 9, 200), SIZE), span)
    held, tokens, computed = HeldBlocks(), [*range(sum(cuts))], 0
    for count in cuts:
        compute(subject, held, tokens, computed, computed + count)
        computed += count
        kept = set(range(len(held.near))) - set(held.gap)
        assert seen(computed, span) <= kept
        subject.check_integrity([held])


class Machine(RuleBasedStateMachine):
    """Sequences over few different tokens come, grow, are cut short and go, in pools just large enough."""

    @initialize(window=st.integers(1, 16), sinks=st.integers(0, 6), spare=st.integers(0, 8))
    def start(self, window: int, sinks: int, spare: int) -> None:
        self.span = Span(window, sinks)
        near = 3 * self.span.most_blocks(SIZE, 8, 48) + spare
        self.groups = BlockGroups(BlockPool(36, SIZE), BlockPool(near, SIZE), self.span)
        self.live: list[tuple[list[int], HeldBlocks, int]] = []
        self.content: dict[tuple[str, int], bytes] = {}

    @precondition(lambda self: len(self.live) < 3)
    @rule(tokens=st.lists(st.integers(0, 1), min_size=1, max_size=6), times=st.integers(1, 8))
    def come(self, tokens: list[int], times: int) -> None:
        tokens = tokens * times
        keys = keys_of(tokens)
        held = self.groups.match(keys)
        computed = len(held) * SIZE
        # What is reused holds what was computed for exactly these tokens.
        for index, key in enumerate(keys[: len(held)]):
            assert self.content["full", held.full[index]] == key
            if index not in held.gap:
                assert self.content["near", held.near[index]] == key
        assert seen(computed, self.span) <= set(range(len(held.near))) - set(held.gap)
        self.live.append((tokens, held, computed))

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 2), count=st.integers(1, 8), drafts=st.integers(0, 3))
    def step(self, which: int, count: int, drafts: int) -> None:
        tokens, held, computed = self.live[which % len(self.live)]
        stop = min(computed + count, len(tokens))
        drafts = min(drafts, 8 - (stop - computed))
        self.groups.grow(held, max(0, self.groups.blocks_for(stop + drafts) - len(held)))
        self.groups.cover(held, stop + drafts)
        for index in range(computed // SIZE, len(held.near)):
            self.content["full", held.full[index]] = self.content["near", held.near[index]] = b""
        keys = keys_of(tokens)
        for index in range(computed // SIZE, stop // SIZE):
            self.content["full", held.full[index]] = self.content["near", held.near[index]] = keys[index]
            self.groups.publish(held, index, keys[index])
        self.groups.shrink(held, self.groups.blocks_for(stop))
        self.groups.advance(held, stop)
        self.live[which % len(self.live)] = (tokens, held, stop)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 2))
    def go(self, which: int) -> None:
        _, held, _ = self.live.pop(which % len(self.live))
        self.groups.release(held)
        assert len(held) == 0

    @invariant()
    def sound(self) -> None:
        if hasattr(self, "groups"):
            self.groups.check_integrity([held for _, held, _ in self.live])


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
