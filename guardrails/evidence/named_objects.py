"""Whether a text names the objects of a call, or others of the same kind.

"Please cancel order 10073" means order 10073. A stranger's text that leads the model to order 10099 instead, which is
the user's as well and stands in a record, must not have its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import regex

from guardrails.evidence.identifying import Leaf, is_identifier, leaves
from guardrails.evidence.other_numbers import without_other_numbers
from guardrails.text.calendar_dates import date_of
from guardrails.text.normalise import normalise
from guardrails.types import CheckedCall

_PREFIX = r"(?:(?:order|bestellung|number|nummer|no|nr|n)\.?)?0*"
"""What may stand before a number in one word."""
_NUMBER_OF = regex.compile(r"\b(no|nr)\.\s*(?=#?\d)", regex.IGNORECASE)
_ONE_WORD = regex.compile(r"(?=\D*\d)[\w./-]{3,40}")
"""An identifier. Shorter numbers are counts more often than not."""


@dataclass(frozen=True)
class NamedObjects:
    """Identifiers of a call.

    Attributes:
        forms: each identifier, with a pattern of its kind: as many digits and letters.
        details: names and addresses of the call, whose parts are no identifiers: the postal code of an address.
    """

    forms: tuple[tuple[str, regex.Pattern[str]], ...]
    details: str

    @classmethod
    def of(cls, call: CheckedCall) -> NamedObjects:
        found = leaves(call.spec, call.arguments)
        named = dict.fromkeys(_plain(_text(one)) for one in found if _is_named(one))
        details = (_text(one) for one in found if one.identifying and " " in _text(one))
        return cls(tuple((one, _kind(one)) for one in named), _plain("\n".join(details)))

    def names_any(self, text: str) -> bool:
        """Whether a text names an object of the kinds that the call names."""
        return any(self._named(kind, text) for _, kind in self.forms)

    def agree(self, text: str) -> bool:
        """Whether a text names each of the call's objects, or none of its kind."""
        return all(not (found := self._named(kind, text)) or one in found for one, kind in self.forms)

    def mentioned_in(self, text: str) -> bool:
        """Whether a text has one of the call's identifiers."""
        plain = _plain(text)
        return any(one in kind.findall(plain) for one, kind in self.forms)

    def whole(self, text: str) -> str:
        """The text with numbers in groups of digits ("10 073", "10,073") put together, where no object is named
        otherwise, and without a dot that ends no sentence ("no. 10073")."""
        text = _NUMBER_OF.sub(r"\1 ", text)
        if self.names_any(text):
            return text
        for one, _ in self.forms:
            if one.isdecimal():
                text = _grouped(len(one)).sub(_together, normalise(text))
        return text

    def _named(self, kind: regex.Pattern[str], text: str) -> set[str]:
        return set(kind.findall(_plain(without_other_numbers(text)))).difference(kind.findall(self.details))


def _plain(text: str) -> str:
    return normalise(text).casefold()


def _text(leaf: Leaf) -> str:
    whole = isinstance(leaf.value, float) and leaf.value.is_integer()
    return str(int(leaf.value) if whole else leaf.value).strip()


def _is_named(leaf: Leaf) -> bool:
    last = regex.sub(r"(?:\[\d+\])+$", "", leaf.path).rpartition(".")[2]
    return (is_identifier(leaf.argument) or is_identifier(last)) and _ONE_WORD.fullmatch(_text(leaf)) is not None


def _kind(value: str) -> regex.Pattern[str]:
    signs = "".join(r"\d" if one.isdecimal() else "[a-z]" if one.isalpha() else regex.escape(one) for one in value)
    prefix = _PREFIX if value.isdecimal() else ""
    return regex.compile(rf"(?<![\da-z]|\d[.,]){prefix}({signs})(?![\da-z]|[.,]\d)")


@lru_cache(maxsize=64)
def _grouped(digits: int) -> regex.Pattern[str]:
    return regex.compile(rf"(?<![\w.,])\d(?:[ .,'’-]?\d){{{digits - 1}}}(?!\w|[.,]\d)")


def _together(match: regex.Match[str]) -> str:
    return match.group() if date_of(match.group()) else regex.sub(r"\D", "", match.group())
