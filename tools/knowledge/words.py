"""Splits texts into words, to compare queries, documents and answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

STOPWORDS = frozenset(
    re.findall(
        r"\w+",
        "a about an and any are as at be but by can could do does for from had has have how i if in into is it its "
        "me my of on or our please should so some something that the their there these they this to use used want "
        "was we what when where which will with would you your",
    )
)
_FIRST_NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
NUMBER_WORDS = {word: float(value) for value, word in enumerate(re.findall(r"\w+", _FIRST_NUMBERS), start=1)} | {
    "twenty": 20.0,
    "thirty": 30.0,
    "sixty": 60.0,
}

DOUBLED = frozenset("bdgmnprt")
"""Letters that are doubled before an ending, and seldom stand double without one."""
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Kana and Chinese characters, which stand without blanks between words."""
_WORD = re.compile(rf"[^\W_{_UNSPACED}]+")
_RUN = re.compile(rf"[{_UNSPACED}]+")
_ENDS = re.compile(r"(?<=[.!?])\s+(?=[^a-z])|\n+")


@dataclass(frozen=True)
class Word:
    """A stemmed word at characters [start, end) of a text."""

    start: int
    end: int
    stem: str


def words(text: str) -> list[str]:
    """Lower-case stems without stop words; ``["?"]`` if there are none, so that any text can be indexed."""
    return [stem(word) for word in _WORD.findall(text.lower()) if word not in STOPWORDS] or ["?"]


def terms(text: str) -> list[str]:
    """What a search compares: the words, and of writing without blanks each pair of neighbouring characters, which
    serves as a word where none can be told apart; ``["?"]`` if there are none."""
    runs = [match.group() for match in _RUN.finditer(text)]
    pairs = [run[at : at + 2] for run in runs for at in range(max(1, len(run) - 1))]
    return [*pairs, *(words(text) if _WORD.search(text) else [])] or ["?"]


def unspaced(text: str) -> bool:
    """Whether a text has characters of a writing without blanks between words."""
    return _RUN.search(text) is not None


def placed_words(text: str) -> list[Word]:
    """All words, including stop words, with their positions."""
    return [Word(match.start(), match.end(), stem(match.group())) for match in _WORD.finditer(text.lower())]


def sentences(text: str) -> list[tuple[int, str]]:
    """Start and text of each sentence."""
    found, start = [], 0
    for match in _ENDS.finditer(text):
        found.append((start, text[start : match.start()]))
        start = match.end()
    found.append((start, text[start:]))
    return [(begin, sentence) for begin, sentence in found if sentence.strip()]


def stem(word: str) -> str:
    """A word without common endings."""
    bare = f"{word[:-3]}fe" if word.endswith("ives") else _bare(word)
    return bare[:-1] if bare.endswith("e") and len(bare) > 4 else bare


def _bare(word: str) -> str:
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return _single(word[: -len(ending)]) + ("y" if ending == "ies" else "")
    return word[:-1] if word.endswith("s") and len(word) > 3 and not word.endswith("ss") else word


def _single(bare: str) -> str:
    """Without the second of two equal letters: "shipping" and "shipped" have the stem of "ship"."""
    return bare[:-1] if bare[-1] in DOUBLED and bare[-1] == bare[-2] else bare
