"""Whether a text names the objects of a call, or others of the same kind.

"Please cancel order 10073" means order 10073. A stranger's text that leads the model to order 10099 instead, which is
the user's as well and stands in a record, must not have its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import regex

from flightloop.subject import Subject
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
_YEAR = r"(?:19|20)\d\d"
_MONTH = r"(?:jan|feb|mar|apr|may|mai|jun|jul|aug|sep|o[ck]t|nov|de[cz]|mär)[\p{L}.]{0,8}"
_DATE_OR_COUNT = regex.compile(
    rf"(?<![\w-]){_YEAR}-\d\d-\d\d(?!\d)|(?<!\w)(?:in|since|seit|year|{_MONTH}),?\s{{1,3}}{_YEAR}(?!\w)"
    r"|(?<![\w.,-])\d{1,9}+\s?(?:days?|weeks?|months?|years?|hours?|minutes?|points?|people|pieces|kg|km|cm|mm)(?!\w)"
)
"""Numbers that look like short identifiers but are none: "since 2026", "100 days"."""


@dataclass(frozen=True)
class NamedObjects:
    """Identifiers of a call.

    Attributes:
        forms: patterns of the kinds of identifiers (as many digits and letters), each with those of the call.
        details: names and addresses of the call, whose parts are no identifiers: the postal code of an address.
    """

    forms: tuple[tuple[regex.Pattern[str], frozenset[str]], ...]
    details: str

    @classmethod
    def of(cls, call: CheckedCall, subject: Subject | None = None) -> NamedObjects:
        """Identifiers of a call, without the end user's own: nobody has to name himself."""
        found = leaves(call.spec, call.arguments)
        own = _plain(subject.id) if subject is not None else None
        named = {_plain(_text(one)) for one in found if _is_named(one)} - {own}
        kinds: dict[str, set[str]] = {}
        for one in named:
            kinds.setdefault(_kind(one), set()).add(one)
        details = (_text(one) for one in found if one.identifying and " " in _text(one))
        forms = tuple((regex.compile(kind), frozenset(those)) for kind, those in kinds.items())
        return cls(forms, _plain("\n".join(details)))

    def names_any(self, text: str) -> bool:
        """Whether a text names an object of the kinds that the call names."""
        return any(named for named, _ in self._found(text))

    def agree(self, text: str) -> bool:
        """Whether a text names each of the call's objects, or none of its kind."""
        return all(not named or those <= named for named, those in self._found(text))

    def mentioned_in(self, text: str) -> bool:
        """Whether a text has one of the call's identifiers."""
        plain = _plain(text)
        return any(not those.isdisjoint(kind.findall(plain)) for kind, those in self.forms)

    def whole(self, text: str) -> str:
        """The text with numbers in groups of digits ("10 073", "10,073") put together, where no object is named
        otherwise, and without a dot that ends no sentence ("no. 10073")."""
        text = _NUMBER_OF.sub(r"\1 ", text)
        if self.names_any(text):
            return text
        for digits in sorted({len(one) for _, those in self.forms for one in those if one.isdecimal()}):
            text = _grouped(digits).sub(_together, normalise(text))
        return text

    def _found(self, text: str) -> Iterator[tuple[set[str], frozenset[str]]]:
        """What a text names of each kind, and the call's own of that kind."""
        plain = _DATE_OR_COUNT.sub(" ", _plain(without_other_numbers(text))) if self.forms else ""
        for kind, those in self.forms:
            yield set(kind.findall(plain)).difference(kind.findall(self.details)), those


def _plain(text: str) -> str:
    return normalise(text).casefold()


def _text(leaf: Leaf) -> str:
    whole = isinstance(leaf.value, float) and leaf.value.is_integer()
    return str(int(leaf.value) if whole else leaf.value).strip()


def _is_named(leaf: Leaf) -> bool:
    last = regex.sub(r"(?:\[\d+\])+$", "", leaf.path).rpartition(".")[2]
    return (is_identifier(leaf.argument) or is_identifier(last)) and _ONE_WORD.fullmatch(_text(leaf)) is not None


def _kind(value: str) -> str:
    """A pattern of identifiers with as many digits and letters, whose one group is the identifier."""
    signs = "".join(r"\d" if one.isdecimal() else "[a-z]" if one.isalpha() else regex.escape(one) for one in value)
    prefix = _PREFIX if value.isdecimal() else ""
    return rf"(?<![\da-z]|\d[.,]){prefix}({signs})(?![\da-z]|[.,]\d)"


@lru_cache(maxsize=64)
def _grouped(digits: int) -> regex.Pattern[str]:
    return regex.compile(rf"(?<![\w.,])\d(?:[ .,'’-]?\d){{{digits - 1}}}(?!\w|[.,]\d)")


def _together(match: regex.Match[str]) -> str:
    return match.group() if date_of(match.group()) else regex.sub(r"\D", "", match.group())
