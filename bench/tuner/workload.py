"""Training rows for the comparison: composed conversations, the same for all trainers."""

from __future__ import annotations

import sys

from bench.peers.training import Lesson
from model.chat.format import ChatFormat
from model.tuner.compose.compose import compose
from model.tuner.compose.family import FOLDER, read_all
from model.tuner.examples import example_of

LENGTHS = range(300, 601)
"""Lengths of rows, in tokens."""


def lessons(tokens: int, seed: int, chat: ChatFormat) -> list[Lesson]:
    """Rows with at least ``tokens`` tokens in all. The same seed gives the same rows."""
    found: list[Lesson] = []
    missing = tokens
    for row in compose(read_all(FOLDER), sys.maxsize, seed):
        example = example_of(row, chat, sys.maxsize)
        if len(example) in LENGTHS:
            found.append(Lesson(example.tokens, example.learned))
            missing -= len(example)
        if missing <= 0:
            break
    return found
