"""Finds hosts outside ordinary links: bare names, scheme-relative and defanged ones, addresses in any notation, URLs
of other schemes.

A pattern takes a whole word of the text, and a function decides what it is. So a finding never depends on what
follows the word, as hold-back streaming requires.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from socket import inet_aton
from urllib.parse import unquote, urlsplit

import regex

from flightloop.egress import is_address, plain_host
from guardrails.finders.pattern import EdgeFinder, Pattern, Refine, Window
from guardrails.text.spelling import as_read, compatible, spelt
from guardrails.text.suffixes import METHODS, Name, before_sentence, kind_of

HOST, OPAQUE = "host", "opaque_link"
MOST_CHARS = 2000
"""Longest part of a word after its host, in characters."""
LONGEST_HOST = 600
"""Longest beginning of a URL that is read to find its host, in characters."""
_ASIAN = r"\p{Han}\p{Hiragana}\p{Katakana}ーｰ\p{Bopomofo}\p{Hangul}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
CJK = _ASIAN + r"\p{So}"
"""Scripts written without blanks, and emoji: a name in another script may stand between their characters."""
_INSIDE = rf"[^\W_\p{{M}}{CJK}]"
"""A letter or digit right beside which no address begins or ends."""
_SIGN = spelt(".:/?#@" + chr(92), escaped=False)
_NO_LETTERS = (
    r"(?:nbsp|amp|quot|apos|lt|gt|e[nm]sp\d*|thinsp|numsp|puncsp|hairsp|comma|semi|excl|quest|[lr](?:par|sqb|cub|aquo|[ds]quo)"
    r"|[sb]?[bd]quo|ast|num|dollar|percnt|plus|equals|vert|[nm]dash|hellip|bull|middot|copy|reg|trade|deg|euro|newline|tab"
    r"|\#0*(?:9|1[03]|3[2-9]|4[0-4]|6[0-2]|160)|\#x0*(?:[9ad]|2[0-9a-c]|3[c-e]|a0));"
)
"""Character references that end a word. Others may stand for a letter, or for nothing that is seen."""
_LETTER = (
    rf"(?:[^\W{CJK}]|[\p{{M}}\p{{Cf}}-]|(?!{_SIGN}|&{_NO_LETTERS})&(?:\#\d{{1,7}}|\#x[\da-f]{{1,6}}|[a-z]{{2,31}});)"
)
LABEL = rf"(?>(?:[a-zA-Z\d-]{{1,63}}+|{_LETTER}){{1,63}}|[{CJK}]{{1,63}})"
_LATIN = r"[A-Za-z0-9\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff]"
_WIDE_DOTS, _WIDE_SLASHES = "。．｡․﹒", "／⁄∕⧸╱＼﹨⧵∖"
DOT = rf"(?:{spelt('.')}|%2e|[\[({{](?:\.|dot)[\])}}]|(?<={_LATIN})[{_WIDE_DOTS}](?={_LATIN}))"
_SLASH = rf"(?:{spelt('/' + chr(92))}|[{_WIDE_SLASHES}]|%2f|%5c)"
_COLON = rf"(?:{spelt(':')}|[：﹕]|\[:\]|%3a)"
_MORE = rf"[^\s<>\"'`]{{0,{MOST_CHARS}}}+"
_BODY = rf"[^\s<>\"'`]{{1,{MOST_CHARS}}}+"
_BEFORE_SLASHES = rf"(?<![/\\.{_WIDE_SLASHES}]|[a-z\d+.-][:：]|[^\W_{CJK}](?<!https?))"
"""Behind a scheme with its colon, the slashes are its own: other patterns take them."""
_OTHER_SCHEME = r"(?<![a-z\d])(?!(?:https?|ftp|wss?):)[a-z\d][a-z\d+.-]{1,40}+"
_NO_SLASHES = rf"(?<![a-z\d])(?:h(?:tt|xx)ps?|ftp|wss?){_COLON}(?:{_SLASH})?(?={_LETTER}|\[|\d)"
"""Schemes behind which clients add the slashes themselves."""
_TAIL = rf"(?P<tail>\(|(?:(?:{DOT})?{_COLON}\d{{1,5}}+)?(?:(?:{DOT})?(?:{_SLASH}|{spelt('?#')}|%3f|%23){_MORE})?)"
_NAME = rf"(?P<name>(?:{LABEL}{DOT}){{1,127}}{LABEL})(?P<mail>(?:[+%][\w.+%-]{{0,64}}+)?@)?{_TAIL}"
_BEFORE_NAME = (
    r"(?<![a-z\d](?<!%(?:2f|3a|3d|40|20)))"  # rules out most positions at once
    rf"(?<![%/\\-]|(?![{CJK}])\p{{M}}|[)\]]\.|[\w.+%-]@|\w[\[({{](?:\.|dot)[\])}}]|{_LATIN}[{_WIDE_DOTS}]"
    rf"|[\w\p{{M}}]{spelt('.')})"  # however it is spelt: a search from each label would take 127 times as long
    rf"(?:(?<![^\W{CJK}])(?={_LETTER})|(?<=%(?:2f|3a|3d|40|20))|(?<![{CJK}])(?=[{CJK}]))"
)
_NUMBER = r"(?:0x[\da-f]{1,12}|\d{1,12})"
_QUAD = rf"(?P<name>{_NUMBER}(?:{DOT}{_NUMBER}){{3}}+)(?P<mail>(?:{DOT}?(?:{_INSIDE}|-))[\w.-]{{0,64}}+|{DOT})?{_TAIL}"
_VERSION = r"(?:version|release|build|revision|firmware|driver) {0,2}v?\.? ?|(?:版本|固件)号?[:：]? ?"
_BEFORE_HEX = rf"(?<!{_INSIDE}|[.@/\\%-])"
_WITH_MORE = rf"(?={_NUMBER}(?:{DOT}{_NUMBER}){{3}}(?:{DOT})?(?:{_COLON}\d|{_SLASH}))"
"""With a port or a path it is no version."""
_BEFORE_QUAD = rf"{_BEFORE_HEX}(?:(?<!{_VERSION})|{_WITH_MORE})"
_HEX = rf"0x[\da-f]{{7,8}}(?:{_COLON}\d{{1,5}}+)?{_SLASH}{_MORE}"
_BARE_V6 = rf"(?:[\da-f]{{1,4}}:{{1,2}}){{2,8}}[\da-f.]{{1,15}}(?:{_INSIDE}|[:.-])*"
_V6 = rf"\[[\da-f:.]{{3,50}}(?:%[\w.-]{{1,20}})?\]{_TAIL}|{_BARE_V6}"
_GAP = r"(?:\t|&(?:\#0*(?:9|10|13)|\#x0*[9ad]|Tab|NewLine);)?"
_OPAQUE_SCHEMES = "|".join(
    [
        *(
            _GAP.join(spelt(letter) for letter in scheme)
            for scheme in ("javascript", "vbscript", "data", "mailto", "tel", "sms")
        ),
        "callto|facetime|smsto|sips?|xmpp|skype|whatsapp|magnet|intent",
    ]
)
_OPAQUE = rf"(?<!{_INSIDE}|[.-])(?:{_OPAQUE_SCHEMES}){_GAP}{_COLON}"
_SCHEME = regex.compile(
    rf"(?:(?:[a-z\d][a-z\d+.-]*)?{_COLON})?(?:{_SLASH}){{2,}}|(?:h(?:tt|xx)ps?|ftp|wss?){_COLON}(?:{_SLASH})?",
    regex.IGNORECASE,
)
_BEGINNING = regex.compile(rf"(?:{LABEL}{DOT}){{1,127}}{LABEL}", regex.IGNORECASE)
_END_OF_HOST = regex.compile(rf"{_SLASH}|{spelt('?#')}|%3f|%23", regex.IGNORECASE)
DOTTED = regex.compile(DOT, regex.IGNORECASE)
_NAMED = regex.compile(_NAME, regex.IGNORECASE)
_ORDINARY = regex.compile(r"(?:[A-Za-z\d](?:[\w-]*[A-Za-z\d])?\.)+[A-Za-z]+", regex.ASCII)
_BEGINS_SENTENCE = regex.compile(r"[A-Za-z]?[a-z]+\.(?:Am|As|At|Be|Do|Here|How|In|Is|It|My|No|Now|So|To|You)")
"""Two words without a blank after the full stop, the second one of those that are top-level domains too: "ready.It"."""
_NUMBERED = regex.compile(rf"{_NUMBER}(?:\.{_NUMBER}){{0,3}}", regex.IGNORECASE)
_TRAILING = ".,;:!?*_)]}>|。，、；：！？）」』】》…\\"
_QUERY = regex.compile(r"[a-z][^?]{0,600}\?[^=]{1,100}=", regex.IGNORECASE)
"""The beginning of a URL with a scheme and a query."""
_LOCAL_FILE = regex.compile(r"file:///(?![/\\])", regex.IGNORECASE)
_HEADING = regex.compile(r"#[a-z]+(?:-[a-z]+)*")
"""A heading's name behind a Markdown file: "guide.md#install"."""
_PORT = regex.compile(r":\d{2,5}(?!\d)")
_CALLED = regex.compile(r"[(=.%&/;]")
_DATA = regex.compile(r"(?:[\w.+-]+/[\w.+*-]+)?(?:;[\w=.-]+)*,.", regex.IGNORECASE | regex.DOTALL)


def as_url(text: str) -> str:
    """The HTTPS URL that a finding stands for: its host decoded, and the rest as written."""
    begin = _SCHEME.match(text)
    rest = as_read(text[begin.end() :] if begin else text)
    end = _END_OF_HOST.search(rest)
    host, tail = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    plain = unquote(compatible(DOTTED.sub(".", host)))
    plain = regex.sub(r"\p{Cf}|^[\s&_*~-]+|[_*~.-]+$", "", plain).rsplit("&")[-1]
    if ":" in plain and is_address(plain):
        plain = f"[{plain}]"
    return f"https://{plain}{tail if not tail or tail[0] in '/?#' else '/' + tail[1:]}"


def host_of(url: str) -> str:
    """Host of a URL in the form of ``plain_host``, with IPv4 addresses in dotted form; "" if there is none."""
    try:
        host = plain_host(urlsplit(url).hostname or "")
    except ValueError:
        return ""
    if is_numeric(host):
        with suppress(OSError):
            return str(IPv4Address(inet_aton(host)))
    return host


def is_numeric(host: str) -> bool:
    """Whether clients may read a host as an IPv4 address: ``127.1``, ``0x7f000001``, ``2130706433``."""
    return _NUMBERED.fullmatch(host) is not None


def bare_name(matched: str) -> Iterator[Window]:
    """Accepts a dotted name that ends in a top-level domain."""
    match = _NAMED.match(matched)
    if match is None or match["mail"]:
        return
    name, tail = match["name"], match["tail"]
    if name.replace(".", "").isdecimal() or (not tail and _BEGINS_SENTENCE.fullmatch(name)):
        return  # a number or a version, or two sentences; ``numbers`` knows addresses
    if _is_host(name.lower() if _ORDINARY.fullmatch(name) else host_of(as_url(name)), tail):
        yield 0, _end(matched)
        return
    labels = DOTTED.split(name)
    if count := before_sentence([label.casefold() for label in labels]):
        yield 0, regex.match(rf"(?:{LABEL}{DOT}){{{count - 1}}}{LABEL}", name, regex.IGNORECASE).end()  # type: ignore[union-attr]


def numbers(matched: str) -> Iterator[Window]:
    """Accepts an IPv4 address in four parts, each decimal, octal or hexadecimal; not a version of five parts."""
    match = regex.match(_QUAD, matched, regex.IGNORECASE)
    if match and not regex.search(r"\w", match["mail"] or "") and is_address(host_of(as_url(match["name"]))):
        yield 0, _end(matched)


def version_six(matched: str) -> Iterator[Window]:
    """Accepts an IPv6 address in brackets with a port or a path, or one of three groups or more."""
    inner, closed, behind = matched.removeprefix("[").partition("]")
    groups = [group for group in inner.split(":") if group]
    try:
        IPv6Address(inner)
    except ValueError:
        return
    if behind or len(groups) > 2:
        yield 0, _end(matched) if not closed or behind else len(matched)


def with_scheme(matched: str) -> Iterator[Window]:
    """Accepts a URL with a host that has a top-level domain, also an ambiguous one, or is an address, or with a scheme
    and a query."""
    if _LOCAL_FILE.match(matched):
        return
    hosts = [host_of(as_url(matched[:LONGEST_HOST]))]
    if (start := _SCHEME.match(matched)) and (name := _BEGINNING.match(matched, start.end())):
        hosts.append(host_of(as_url(name.group())))  # without what follows: "//evil.com, then"
    known = any(is_address(host) or host == "localhost" or kind_of(host) is not Name.OTHER for host in hosts)
    if known or _QUERY.match(matched):
        yield 0, _end(matched)


def opaque(matched: str) -> Iterator[Window]:
    """Accepts a URL without a host that runs a program or carries data to another one."""
    scheme, _, rest = regex.sub(r"\s", "", as_read(unquote(matched[:LONGEST_HOST])).replace("：", ":")).partition(":")
    match scheme.casefold():
        case "javascript" | "vbscript":
            carries = _CALLED.search(rest) is not None
        case "data":
            carries = _DATA.match(rest) is not None
        case "mailto" | "tel" | "sms" | "smsto" | "callto" | "facetime":
            carries = "?" in rest or "?" in matched  # the address itself is the contacts rail's business
        case _:
            carries = regex.search(r"[@?]|//", rest) is not None
    if carries:
        yield 0, len(matched)


def _is_host(host: str, tail: str) -> bool:
    tail, bracket = tail.rstrip(_TRAILING), tail
    path = regex.search(r"[^\d:(]", tail) is not None
    match kind_of(host):
        case Name.HOST:
            return bracket != "(" or host.rpartition(".")[2] not in METHODS
        case Name.AMBIGUOUS:
            return (
                path
                or _PORT.match(tail) is not None
                or regex.search(r"[a-z\d]-[a-z\d]|(?=[a-z]*\d)[a-z\d]{16}", host.rpartition(".")[0]) is not None
            )
        case Name.FILE:
            return path and not (host.endswith(".md") and _HEADING.fullmatch(tail))
        case _:
            return False


def _end(matched: str) -> int:
    return len(matched.rstrip(_TRAILING).removesuffix("("))


def names_in(text: str) -> frozenset[str]:
    """Hosts of all bare names and addresses in a text, those that are rather files or attributes included."""
    names = (match["name"] for match in _FREE.finditer(text) if not match["mail"])
    found = (text[finding.start : finding.end] for finding in HOSTS.find(text))
    return frozenset(host_of(as_url(form)) for form in {*names, *found})


_FREE = regex.compile(_BEFORE_NAME + _NAMED.pattern, regex.IGNORECASE)


def _pattern(expression: str, refine: Refine, needs: str, label: str = HOST) -> Pattern:
    return Pattern(label, expression, refine, ignore_case=True, needs=needs)


_DOT_WITHIN = rf"[.{_WIDE_DOTS}]\S|&|%2e|[\[({{](?:\.|dot)"
_COLON_OR_SLASHES = rf"[:：﹕&]\S|%3a|(?:[/\\{_WIDE_SLASHES}]|%2f|%5c){{2}}"
HOSTS = EdgeFinder(
    [
        _pattern(_BEFORE_NAME + _NAMED.pattern, bare_name, _DOT_WITHIN),
        _pattern(f"{_BEFORE_QUAD}{_QUAD}", numbers, _DOT_WITHIN),
        _pattern(f"{_BEFORE_HEX}{_HEX}", with_scheme, "0x"),
        _pattern(rf"(?<!{_INSIDE}|[)\].:/\\@\[])(?:{_V6})", version_six, r":\S"),
        _pattern(rf"{_BEFORE_SLASHES}(?:{_SLASH}){{2}}{_BODY}", with_scheme, _COLON_OR_SLASHES),
        _pattern(rf"{_OTHER_SCHEME}{_COLON}{_SLASH}{{2}}{_BODY}", with_scheme, _COLON_OR_SLASHES),
        _pattern(_NO_SLASHES + _BODY, with_scheme, _COLON_OR_SLASHES),
        _pattern(rf"{_OPAQUE}\S{{1,{MOST_CHARS}}}+", opaque, _COLON_OR_SLASHES, OPAQUE),
    ],
    within_word=True,
)
