"""Cuts a text into segments, about sentences, which are tagged independently of each other.

Where a segment ends depends only on the text from its beginning up to there. So a text that arrives in pieces is cut
like the whole text, and all segments but the last are final.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

LONGEST = 480
"""A longer segment ends at the next blank."""
_ABBREVIATIONS = (
    r"Mr|Mrs|Ms|Mx|Dr|Prof|Sr|Jr|St|Ste|Mt|Ft|Rev|Hon|Gen|Col|Capt|Lt|Sgt|Apt|No|Nr|Ave|Blvd|Rd|Ln|Sq|Str|Tel|Dept|Inc"
    r"|Ltd|Co|Corp|Bros|vs|etc|approx|ca|Hr|Fr|Mme|Mlle|Dra|Sra|Srta|Avda|ul|Jan|Feb|Mar|Apr|Aug|Sept|Oct|Nov|Dec|Ph\.D"
)
_END = regex.compile(
    rf"\n[ \t\r]*\n|\n[ \t]*[-*•#|>]"
    rf"|(?:\.|[.!?…]{{2,8}}|[!?])(?<!(?<![^\W_])(?:[^\W_]|\d\d|{_ABBREVIATIONS})\.)[\"'”’)\]]{{0,3}}\s|[。！？]"
)
_BLANK = regex.compile(r"\s")


def segments(text: str, start: int = 0, *, complete: bool = True) -> Iterator[tuple[int, int]]:
    """Yields the segments [begin, end) from ``start`` on, which must be a segment's beginning.

    Args:
        complete: whether the text ends here; otherwise its last segment may still grow, and is left out.
    """
    while start < len(text):
        end = _end(text, start)
        if end is None:
            if complete:
                yield start, len(text)
            return
        yield start, end
        start = end


def _end(text: str, start: int) -> int | None:
    found = _END.search(text, start, start + LONGEST + 1)
    if found:
        return int(found.end())
    blank = _BLANK.search(text, start + LONGEST)
    return int(blank.end()) if blank else None
