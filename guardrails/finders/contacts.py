"""Finds e-mail addresses and phone numbers in all spellings that people and mail programs understand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import unquote

import regex

from flightloop.egress import is_address, plain_host
from guardrails.finders.bare_hosts import CJK, DOT, LABEL
from guardrails.finders.identifiers import OUTSIDE_ID
from guardrails.finders.pattern import AFTER_ESCAPE, EdgeFinder, Pattern, Window, not_after
from guardrails.finders.phones import SCHEME, WA_ME
from guardrails.finders.pii import BETWEEN, DASHES, GAP, NO_PHONE, ONE_ON, PATTERNS, ZERO, checked, is_phone
from guardrails.text.spelling import as_read, compatible, spelt
from guardrails.text.suffixes import Name, kind_of

_LOCAL = (
    rf"(?>\"[\w.+-]{{1,62}}\"|(?:[a-zA-Z\d._-]{{1,64}}+|[^\W{CJK}]|(?!%40)[.+%'\p{{Cf}}-]){{1,64}}|[{CJK}]{{1,64}})"
)
_AT = rf"(?:[ \n*`]{{0,3}}{spelt('@')}[ \n*`]{{0,3}}|[＠﹫]|%40| ?[\[({{<] ?(?:at|@) ?[\])}}>] ?)"
_SPACED_DOT = rf"(?:{DOT}| (?:dot|punkt|\.) | ?[\[({{] ?(?:\.|dot) ?[\])}}] ?)"
_DOMAIN = rf"(?:{LABEL}{_SPACED_DOT}){{1,20}}{LABEL}|\[[\da-f:.]{{3,45}}\]"
_EMAIL = rf"(?P<local>{_LOCAL})(?:{_AT}|(?P<spoken> at ))(?P<domain>{_DOMAIN})"
_BEFORE_EMAIL = (
    r"(?<![a-z\d](?<!\\[bfnrt]|\\u[\da-f]{4}|%(?:3a|3d|20)))"
    rf"(?:(?<![^\W{CJK}])(?<![.+%'\\\p{{Cf}}-]|//|[{CJK}](?=[{CJK}]))|{AFTER_ESCAPE}|(?<=\\)(?![bfnrtu])"
    rf"|(?<=%(?:3a|3d|20)))"
)
_TAIL = r"(?:[?&/#;][^\s<>\"'`]{1,2000}+)?"
"""Rest of a URL after a contact. It is part of the finding: the rail for links could not see it without its start."""
_WIDER = BETWEEN.replace("{1,3}", "{1,5}")
_NATIONAL = (
    rf"{OUTSIDE_ID}(?!000)"
    rf"(?:(?:\({ZERO}\d{{0,5}}\){GAP}|{ZERO}\d{{1,5}}\)?{_WIDER}|{ZERO}(?=[ (\u00a0]){BETWEEN})"
    rf"\d{{1,11}}(?:{BETWEEN}\d{{1,11}}){{0,8}}(?!\d)"
    rf"|{ZERO}{ONE_ON}\d{{8,9}}(?![\d.,]?\d))"
)
"""With a prefix in brackets or a separator behind it, or 10 to 11 digits in one piece. Groups of 12 digits or more are
article numbers and times."""
_SIGN = r"[^\w\n+,;:<>|=%&@#]"
"""What people put between the groups of a number that begins with a plus: also quotes, brackets and more blanks."""
_OBJECTS = (
    r"(?:order|invoice|rechnung|bestell|art|item|customer|kunde|track|sendung|parcel|paket|account|konto|case|ticket|vorgang"
    r"|seri|model|part|contract|vertrag|member|mitglied|receipt|beleg|batch|charge|lot|iban|isbn|ean|gtin|vat|ust|tax|steuer"
    r"|mac|sku|ref)"
)
_ENDINGS = r"(?:s|es|n|en|e|l|al|ing|ung|ungs|icle|icles|ikel|ship|schafts|erence|erenz|)"
"""A word that only begins so is another one: "refunds", "partner", "Kundenhotline". All are spelt out: with optional
parts, ``regex`` takes the middle of a sentence for a beginning that more text could complete."""
_NO_NATIONAL = (
    rf"(?<![a-z\d]\d[ {DASHES}./])"  # a part of a longer number
    rf"(?<!(?<![a-z]){_OBJECTS}{_ENDINGS}[ .:#-]{{0,3}}(?:(?:no|nos|nr|nrn|num|number|nummer|id)[ .:#-]{{0,3}})?)"
    r"(?<!(?:单号|编号|票号)[:：]? ?)"
)
"""Words for what has another number: "Invoice 01-2345-6789", "Art.-Nr. 0123 4567 89", but not "Contact no. 0900 …"."""
_BEFORE_NATIONAL = not_after("a-z0-9+-") + r"(?<!\d[.,/])"
"""Letters of other scripts and signs may stand right before a number: "请拨打0900 1234567", "T.0900 1234567"."""
_ABROAD = rf"[+\uff0b]{_SIGN}{{0,2}}{ONE_ON}(?:{_SIGN}{{0,5}}\d){{7,14}}[)\]]?(?!\d)"
"""A plus begins a number whatever stands before it: "24/7 +49 30 5550100"."""
_AMERICAN = rf"(?:[1\uff11]{GAP})?\([2-9\uff12-\uff19]\d{{2}}\){GAP}\d{{3}}{GAP}\d{{4}}(?!\d)"
_SURPLUS = rf"{OUTSIDE_ID}(?<!\d[ ./-])[+\uff0b]{ONE_ON}(?!(?:{GAP}\d){{8,14}}(?!\d))(?:{GAP}\d){{15,22}}(?!\d)"
"""A country code and more digits than a phone number has, which are not dialled."""
LEAST_NATIONAL, MOST_PAIRS = 9, 5
"""Least digits of a number without a country code (who dials more than it has still reaches it), and most groups if
none has three digits: lists of numbers and hardware addresses have more."""
_CALLED = rf"(?:{SCHEME}|{WA_ME})\+?\d(?:[ ().-]{{0,2}}\d){{3,14}}(?!\d)"
_OTHER_NUMBER = regex.compile(r"\d+(?:\.\d+){3}(?!\.?\d)|\d\d([-./ ])\d\d\1(?:19|20)\d\d(?!\d)")
"""An address of four parts, or a date, of which the month may be wrong."""


def plain_email(form: str) -> str:
    """An e-mail address as mail programs read it, in lower case."""
    match = _FORM.search(form)
    if match is None:
        return form.casefold()
    domain = as_read(_SPELT_DOT.sub(".", match["domain"]))
    local = regex.sub(r"\p{Cf}", "", compatible(unquote(as_read(match["local"]))))
    host = plain_host(_BEHIND.sub(r"\1", compatible(domain)))
    return f"{local}@{host}".casefold()


def _email(matched: str) -> Iterator[Window]:
    match = _FORM.match(matched)
    if match is None or (match["spoken"] and not _SPOKEN_DOT.search(match["domain"])):
        return
    domain = plain_email(matched).rpartition("@")[2]
    if is_address(domain.strip("[]")) or kind_of(domain) is not Name.OTHER:
        yield 0, len(matched)


def _national(matched: str) -> Iterator[Window]:
    groups = regex.findall(r"\d+", matched)
    if len(groups) > MOST_PAIRS and max(map(len, groups)) < 3:
        return
    if NO_PHONE.match(matched) or _OTHER_NUMBER.match(matched):
        return
    if sum(map(len, groups)) >= LEAST_NATIONAL:
        yield 0, len(matched)


def _dialled(matched: str) -> Iterator[Window]:
    yield 0, len(matched)


_BEHIND = regex.compile(r"(?<=\.)(?!xn--)([^._-]*)[-_][^.]*$|()[_*]+$", regex.IGNORECASE)
"""What is no part of a domain: no last label has an underscore, and only those of other scripts a hyphen."""
_SPOKEN_DOT = regex.compile(r" (?:dot|punkt) ", regex.IGNORECASE)
_SPELT_DOT = regex.compile(_SPACED_DOT, regex.IGNORECASE)
_FORM = regex.compile(_EMAIL, regex.IGNORECASE)
_SIGN_OF_EMAIL = r"[@＠﹫&]|%40|[\[({<] ?at|\bat .{1,80}(?:dot|punkt)\b"
CONTACTS = EdgeFinder(
    [
        Pattern("email", _BEFORE_EMAIL + _EMAIL + _TAIL, _email, ignore_case=True, needs=_SIGN_OF_EMAIL),
        *(replace(pattern, needs=r"\d") for pattern in PATTERNS["phone"]),
        Pattern("phone", _BEFORE_NATIONAL + _NO_NATIONAL + _NATIONAL, _national, ignore_case=True, needs=r"\d"),
        Pattern("phone", r"(?<![0-9+])" + _ABROAD, checked(is_phone), needs=r"\d"),
        Pattern("phone", not_after("A-Za-z0-9_+.-") + _AMERICAN, needs=r"\d"),
        Pattern("phone", not_after(r"\w+") + _SURPLUS, needs=r"\d"),
        Pattern("phone", not_after(r"\w.-") + _CALLED + _TAIL, _dialled, ignore_case=True, needs="[:&%/]"),
    ]
)
