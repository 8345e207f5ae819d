"""Reads tick labels such as 10³ again where text detection left out the small raised exponent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tools.vision.images import Pixels
from tools.vision.numerals import power_of_ten
from tools.vision.ocr import Word, recognised

RIGHT, ABOVE, MARGIN = 1.0, 0.55, 0.2
"""How far the box of a 10 is extended towards its exponent and elsewhere, in heights of the 10."""
SURE = 0.7
"""Least score of a label that is read again."""


def with_exponents(pixels: Pixels, words: Sequence[Word]) -> list[Word]:
    """The words with the exponents of those that are 10, if there are several: no other axis has 10 twice."""
    bare = [word for word in words if word.level and word.text == "10"]
    if len(bare) < 2:
        return list(words)
    boxes = [
        (
            word.box[0] - MARGIN * word.height, word.box[1] - ABOVE * word.height,
            word.box[2] + RIGHT * word.height, word.box[3] + MARGIN * word.height,
        )
        for word in bare
    ]  # fmt: skip
    whole = list(words)
    for word, (text, score) in zip(bare, recognised(pixels, boxes), strict=True):
        if score >= SURE and text != word.text and power_of_ten(text):
            whole[whole.index(word)] = replace(word, text=text, score=score)
    return whole
