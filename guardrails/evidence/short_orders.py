"""Short texts of strangers that may call for one of an agent's acts: "Cancel it!", "Storno 10073"."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import regex

from flightloop.tool import ToolSpec
from guardrails.evidence.acts import Act, joined
from guardrails.text.normalise import normalise
from guardrails.text.request_words import words_for
from guardrails.text.verbs import BROAD, gerunds, noun_of, participles

_TWO_WORDS = regex.compile(r"[^\W_][\W_]+[^\W_]")


def verbs_of(specs: Iterable[ToolSpec]) -> tuple[str, ...]:
    """The verbs of the tools' acts, without repetitions."""
    acts = (act for spec in specs if (act := Act.of(spec)) is not None)
    return tuple(dict.fromkeys(verb for act in acts for verb in act.verbs))


def orders(text: str, verbs: tuple[str, ...]) -> bool:
    """Whether a text has a word for one of the acts.

    A single word counts if it can hardly be anything but an order: neither a state ("cancelled", "open") nor a kind
    ("payment").
    """
    if not verbs:
        return False
    text = normalise(text)
    alone, beside, other = _patterns(verbs)
    if other is not None and other.search(text):
        return True
    return (beside if _TWO_WORDS.search(text) else alone).search(text) is not None


@lru_cache(maxsize=256)
def _patterns(
    verbs: tuple[str, ...],
) -> tuple[regex.Pattern[str], regex.Pattern[str], regex.Pattern[str] | None]:
    """Patterns of a single word, of a word beside others, and of words that are not English."""
    forms = [form for verb in verbs for form in (verb, *gerunds(verb), *participles(verb))]
    alone = joined(verb for verb in verbs if verb not in BROAD) or "(?!)"
    beside = "|".join([joined(forms), *map(noun_of, verbs)])
    other = words_for(verbs)
    return _word(alone), _word(beside), other


def _word(pattern: str) -> regex.Pattern[str]:
    return regex.compile(rf"(?<![^\W\d_])(?:{pattern})(?![^\W\d_])", regex.IGNORECASE)
