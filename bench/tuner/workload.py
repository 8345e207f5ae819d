"""The rows that trainers learn from: composed conversations, the same for all."""

from __future__ import annotations

import sys

from bench.peers.training import Lesson
from model.prompt import TextEncoder
from model.tuner.compose.compose import compose
from model.tuner.compose.family import FOLDER, read_all
from model.tuner.examples import example_of

LENGTHS = range(300, 601)
"""Tokens of a row."""


def lessons(tokens: int, seed: int, tokenizer: TextEncoder) -> list[Lesson]:
    """So many rows that they have at least ``tokens`` tokens; the same seed gives the same ones."""
    found: list[Lesson] = []
    missing = tokens
    for row in compose(read_all(FOLDER), sys.maxsize, seed):
        example = example_of(row, tokenizer, sys.maxsize)
        if len(example) in LENGTHS:
            found.append(Lesson(example.tokens, example.learned))
            missing -= len(example)
        if missing <= 0:
            break
    return found
