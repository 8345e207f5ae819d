"""Finds values in texts, to check where the arguments of calls come from."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

import regex

from guardrails.text.normalise import normalise, unescaped
from guardrails.text.scalars import scalar_texts

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}ー"
"""Letters of scripts that set words without blanks, or join endings to names: a number or an identifier may stand right
beside them. The mark ー belongs to two of these scripts."""
LONG_UNSPACED = 4
"""Letters of a value that stands in a text by chance no more. Names are shorter, and stay words of their own."""
_UNSPACED = regex.compile(rf"[{UNSPACED}]")
LETTER = rf"[\w--[{UNSPACED}]]"
"""A letter or digit of a word, in `regex.VERSION1`."""
_NUMBER = regex.compile(
    rf"(?<!{LETTER}|[.,])[-+]?\d{{1,3}}(?:[,' ]\d{{3}})+(?:\.\d+)?(?!{LETTER})"
    rf"|(?<!{LETTER})[-+]?\d+(?:[.,]\d+)?(?!{LETTER})",
    regex.VERSION1,
)
_WORD = regex.compile(rf"[{UNSPACED}]+|[{LETTER}@+]+", regex.VERSION1)
_GROUPED = regex.compile(r"(?<!\d)\d[\d,.' ]{1,24}")
_ANY_NUMBER = regex.compile(r"(?<!\d)\d+(?:[.,]\d+)?(?:e[-+]?\d{1,400})?", regex.IGNORECASE)
_PIECE = regex.compile(r"[^\W_]+")
_LAST_LABEL = regex.compile(r"^(?:https?://)?[^/?#]*\.([^\W_]+)(?=[:/?#]|$)")
_SHORT = regex.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
MOST_PARTS = 100
"""Maximum number of parts of a value. Longer lists are never trusted."""
_PARTS = regex.compile(r"[,;\n]+")
EMAIL = regex.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}")
_EXACT = regex.compile(
    "|".join(
        [
            r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?",
            r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://[^\s<>\"')\]]+",
            rf"(?<![^\s<>\"'(),;:{UNSPACED}])[^\s<>\"'(),;:{UNSPACED}]*@[^\s<>\"'(),;{UNSPACED}]+",
            r"(?<![\w.@-])(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?:[:/][^\s<>\"')\]]*)?",
            r"(?<![^\s<>\"'(),;])(?:[/\\]{2}|(?:~|\.{1,2}|[a-z]:)[/\\])[^\s<>\"'(),;]+",
            r"(?<!\w)(?=\w{0,200}\d)(?=\w{0,200}[a-z])\w{10,}",
        ]
    ),
    regex.IGNORECASE,
)
"""IPv4 addresses, URIs, words with an @, host names with their port or path, paths, and codes of letters and digits,
whose upper and lower case may differ in meaning."""
_SIGNS = frozenset("*%`|~^")
_AFTER = ".,;:!?*)]}>\"'"
"""Punctuation that may follow an address and isn't part of it."""
_BETWEEN = regex.compile(r"[,; ]+|(?<=\S)\n+(?=\S)")
_MAILBOX = regex.compile(r"(?:mailto:)?<?[\w+%][^\s\"<>]*@\S*[^\W_]\.?>?", regex.IGNORECASE)
LONGEST_MAILBOX = 400
URL = regex.compile(r"https?://[^\s<>\"')\]]{1,2000}", regex.IGNORECASE)


def plain(text: str) -> str:
    """Normal form in lower case: words of letters, digits, ``_``, ``@`` and ``+``, separated by single blanks.

    A number or name in a text without blanks is a word of its own: ``订单10808的`` has three.
    """
    return " ".join(_WORD.findall(normalise(text).casefold()))


def plain_values(arguments: Mapping[str, Any]) -> frozenset[str]:
    """Normal forms (`plain`) of all strings and numbers in a call's arguments, except empty ones."""
    return frozenset(text for value in arguments.values() for leaf in scalar_texts(value) if (text := plain(leaf)))


def number_of(text: str) -> float | None:
    """Parses a number written like 1,234.50, 1 234 or 12,5. None if it isn't a finite number."""
    cleaned = regex.sub(r"(?<=\d)[,' ](?=\d{3}(?!\d))", "", text.strip())
    try:
        value = float(cleaned.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def numbers_in(text: str) -> set[float]:
    return set(each_number(text))


def each_number(text: str) -> Iterator[float]:
    """Yields the numbers of a text in order, without repeated spellings."""
    seen: set[str] = set()
    for match in _NUMBER.finditer(text):
        written = match.group()
        if written not in seen:
            seen.add(written)
            if (value := number_of(written)) is not None:
                yield value


def stands_in(value: object, sources: Iterable[str]) -> bool:
    """Whether every string and number of a JSON value occurs in one of the sources (`Words.hold`)."""
    known = [Words.of(text) for text in sources]
    wanted = map(Value.of, scalar_texts(value if value is not None else ""))
    return all(any(words.hold(one) for words in known) for one in wanted)


@dataclass(frozen=True)
class Words:
    """The words of a text, prepared for look-ups.

    Attributes:
        plain: words, each between two blanks.
        exact: strings that must match exactly: addresses, links, host names.
        numbers: numbers by value.
        signs: characters that `plain` drops or changes although they may change what a value means to a tool:
            wildcards, invisible characters, letters and digits of other widths.
    """

    plain: str
    exact: frozenset[str]
    numbers: frozenset[Decimal]
    signs: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Words:
        text = unescaped(text)
        # The original spelling counts too: a look-alike address is another recipient.
        found = [*_EXACT.findall(normalise(text)), *_EXACT.findall(text)]
        numbers = map(_short_number, _NUMBER.findall(text))
        return cls(
            plain=f" {plain(text)} ",
            exact=frozenset(_comparable(one.rstrip(_AFTER)) for one in found),
            numbers=frozenset(number for number in numbers if number is not None),
            signs=frozenset(sign for sign in set(text) if sign in _SIGNS or (sign > "\x7f" and _is_disguised(sign))),
        )

    @classmethod
    def written(cls, text: str) -> Words:
        """Words of a text that the model wrote, which a tool may repeat. Includes all numbers it can be read as."""
        words = cls.of(text)
        return replace(words, numbers=words.numbers | _any_numbers(unescaped(text)))

    @cached_property
    def pieces(self) -> frozenset[str]:
        """Runs of letters and digits, without numbers of one or two digits, which are too common."""
        return frozenset(piece for piece in _PIECE.findall(self.plain) if len(piece) > 2 or not piece.isdecimal())

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(self.plain.split())

    @cached_property
    def within(self) -> str:
        """What a text must contain: `plain`, without the blanks beside letters that stand without any."""
        if len(_UNSPACED.findall(self.plain)) < LONG_UNSPACED:
            return self.plain
        bare = self.plain.strip()
        return f"{'' if _UNSPACED.match(bare[0]) else ' '}{bare}{'' if _UNSPACED.match(bare[-1]) else ' '}"

    def hold(self, value: Value) -> bool:
        """Whether a value occurs in the text.

        Parts separated by commas or line breaks (a postal address) may occur in another order. The words of a part must
        be adjacent, with any separators; links, addresses and host names (`exact`) must match exactly. A number of up
        to 15 digits may be written in another way. In writing without blanks, a longer value may begin and end within
        a run of letters: an address stands right behind "改成".
        """
        if value.number is not None:  # a number matches as a whole, with its sign: not the 50 in 12.50
            return value.number in self.numbers
        if not value.parts:
            return value.empty
        return all(
            part.within in self.plain and part.exact <= self.exact and part.signs <= self.signs for part in value.parts
        )


@dataclass(frozen=True)
class Value:
    """A string or number to look up.

    Attributes:
        number: the value of an amount; None for text and for digit sequences such as account numbers.
        parts: pieces between commas, semicolons and line breaks; empty if there are more than MOST_PARTS, or if an
            e-mail address has extra characters around it.
    """

    number: Decimal | None
    parts: tuple[Words, ...]
    empty: bool

    @classmethod
    def of(cls, leaf: str) -> Value:
        texts = _PARTS.split(leaf, MOST_PARTS)
        parts = [Words.of(text) for text in texts] if len(texts) <= MOST_PARTS and not _is_dressed(leaf) else []
        return cls(_short_number(leaf.strip()), tuple(part for part in parts if part.plain.strip()), not leaf.strip())

    @property
    def pieces(self) -> frozenset[str]:
        """Pieces of all parts, without common endings of addresses such as ``.com``."""
        pieces = frozenset[str]().union(*(part.pieces for part in self.parts))
        return pieces.difference(*(_LAST_LABEL.findall(one) for part in self.parts for one in part.exact))

    @property
    def addresses(self) -> list[frozenset[str]]:
        """Pieces of each link, e-mail address or host name, without common endings."""
        found = (one for part in self.parts for one in part.exact)
        return [frozenset(_PIECE.findall(plain(one))).difference(_LAST_LABEL.findall(one)) for one in found]


def _comparable(address: str) -> str:
    """An address with the parts in lower case in which case has no meaning: scheme, host, and mailboxes."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        if "@" in address:
            return address.lower()
        rest, scheme = address, ""
    host = regex.split(r"[/?#:\\]", rest.rpartition("@")[2] if separator else rest, maxsplit=1)[0]
    return scheme.lower() + separator + (rest.replace(host, host.lower(), 1) if "." in host or separator else rest)


def _is_disguised(sign: str) -> bool:
    """Whether a letter, digit or invisible character is compared as another one, or as none."""
    return unicodedata.category(sign)[0] in "LNC" and normalise(sign) != sign


def _is_dressed(leaf: str) -> bool:
    """Whether a list of e-mail addresses has extra characters, such as quotes, which a mail program may read as part of
    an address."""
    if "@" not in leaf:
        return False
    each = [one for one in _BETWEEN.split(leaf.strip(" ")) if one]
    if not all(map(EMAIL.search, each)):
        return False
    return not all(len(one) <= LONGEST_MAILBOX and _MAILBOX.fullmatch(one) for one in each)


def _any_numbers(text: str) -> frozenset[Decimal]:
    found = [*_ANY_NUMBER.finditer(text), *_GROUPED.finditer(text, overlapped=True)]
    numbers = (number_of(match.group()) for match in found)
    return frozenset(Decimal(str(number)) for number in numbers if number is not None)


def _short_number(text: str) -> Decimal | None:
    """Parses an amount; None for a digit sequence that identifies something (account, card, code with zeros)."""
    bare = regex.sub(r"(?<=\d)[,' ](?=\d{3}(?!\d))", "", text).replace(",", ".")
    return Decimal(bare) if _SHORT.fullmatch(bare) and len(regex.findall(r"\d", bare)) <= 15 else None
