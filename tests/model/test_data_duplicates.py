from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from model.tuner.data.duplicates import distinct
from model.tuner.data.row import called, row, said, tool
from model.tuner.data.words import grams, words_of

PLANTS = ["fern", "moss", "ivy", "oak", "lily", "rose", "reed", "sage", "mint", "palm"]
words = st.lists(st.sampled_from(PLANTS), min_size=1, max_size=12).map(" ".join)
arguments = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=2)
WATER = tool("water", "Waters", {})


def asked(text, given):
    return row("own", [said("user", text), called([("water", given)])], [WATER])


some_rows = st.lists(st.builds(asked, words, arguments), max_size=12)


@settings(deadline=None, max_examples=40)
@given(some_rows)
def test_what_is_distinct_stays_so(rows):
    once = distinct(rows)
    twice = distinct(once.rows)
    assert twice.rows == once.rows
    assert twice.exact == twice.near == 0
    assert len(once.rows) + once.exact + once.near == len(rows)


@settings(deadline=None, max_examples=40)
@given(some_rows, st.randoms(use_true_random=False))
def test_exact_duplicates_always_go(rows, draw):
    doubled = [*rows, *rows]
    draw.shuffle(doubled)
    kept = distinct(doubled, similar=1.0)
    texts = [str(each) for each in kept.rows]
    assert len(texts) == len(set(texts)) <= len(rows)
    assert set(texts) <= set(map(str, rows))
    assert kept.exact >= len(rows)


def test_case_signs_and_sources_make_no_difference():
    kept = distinct([asked("Water the fern!", {"a": 1}), {**asked("water: the FERN", {"a": 1}), "source": "other"}])
    assert (len(kept.rows), kept.exact) == (1, 1)


def test_chinese_is_compared_by_characters():
    assert words_of("查一下10312到哪了") == ["查一下", "10312", "到哪了"]
    assert words_of("帮我查一下") == ["帮我查", "我查一", "查一下"]
    asked = grams(words_of("上周买的那个黑色背包拉链坏了能退吗"))
    assert asked & grams(words_of("你好，那个黑色背包拉链坏了能退吗？"))
    assert not asked & grams(words_of("上周买的黑色背包，拉链坏掉了，可以退吗"))


def test_what_is_nearly_the_same_goes_and_the_first_stays():
    draw = random.Random(0)
    text = " ".join(draw.choice(PLANTS) + str(number) for number in range(60))
    first, second = asked(text, {}), asked(text + " please", {})
    kept = distinct([first, second, asked("water the moss", {})])
    assert kept.rows == (first, asked("water the moss", {}))
    assert kept.near == 1


def test_other_arguments_of_a_short_wish_are_another_wish():
    assert len(distinct([asked("water plant 3", {"a": 3}), asked("water plant 4", {"a": 4})]).rows) == 2
    assert len(distinct([asked("water it", {"a": 3}), asked("water it", {"a": 4})]).rows) == 2
