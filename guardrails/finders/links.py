"""Finds links in displayed text, and where a link ends for every renderer."""

from __future__ import annotations

from itertools import islice

import regex

from guardrails.finders.hosts import (
    BARE_START,
    BODY,
    LEADING,
    MOST_CHARS,
    START,
)
from guardrails.finders.pattern import Finding, Pattern, PatternFinder
from guardrails.text.spelling import BLANKS, spelt

LINK, OPEN = "link", "open_link"
MOST_LINKS = 1000
"""Maximum number of links read from a result. Searching a text full of links takes long and delays other work."""
MOST_TAG = 100
"""Longest name of a tag, in characters."""
_IMAGE = regex.compile(r"!\[|<(?!/?a[\s>])/?[a-z][\w-]*(?=[\s/>])|<[!?]|\burl\(|@import", regex.IGNORECASE)
_DEFINED = regex.compile(rf"(?<=\]:{LEADING})", regex.IGNORECASE)
_PUNCTUATION = ".,;:!?*"
_SIGNS = r")\]}>.,;:!?*_~'\"|。，、；：！？）」』】》"
_CLOSING = regex.compile(rf"[`{_SIGNS}]*|[{_SIGNS}]*</?[a-z][a-z0-9]*/?>.*", regex.IGNORECASE)
_BLANK = spelt(BLANKS)
_BLANK_OR_SLASH = rf"(?:{spelt(BLANKS, escaped=False)}|[/\\])"
"""A backslash matches in one way only. Otherwise a run of backslashes could match in exponentially many ways."""
_OPENER = regex.compile(
    rf"(?<=(?P<outer>\]\(|\]:)?{_BLANK}*(?P<opener>[<\"'=]|\]\(|\]:|url\(){_BLANK_OR_SLASH}*)", regex.IGNORECASE
)
_LABELLED = regex.compile(rf"(?<=(?<!\\)\[(?!\^)[^\[\]\\`<\n]{{0,300}}\]\((?:<|{_BLANK_OR_SLASH})*)", regex.IGNORECASE)
_EQUALS = r"\s{1,9}[a-z-]{1,30}\s{0,9}=\s{0,9}"
_ATTRIBUTE = rf"(?:{_EQUALS}(?:\"[^\"<>]{{0,300}}\"|'[^'<>]{{0,300}}'|[^\s\"'=<>`]{{1,300}})|\s{{1,9}}[a-z-]{{1,30}})"
_IN_TAG = regex.compile(
    rf"(?<=(?<!\\)<[a-z][a-z0-9-]{{0,30}}{_ATTRIBUTE}{{0,9}}{_EQUALS}[\"']?\s{{0,9}}[/\\]{{0,9}})", regex.IGNORECASE
)
# May follow a letter, since some renderers see a link there. Inside another link's host, it isn't a link of its own.
_WWW = rf"(?=[w&])(?:{spelt('w')}){{3}}{spelt('.')}(?!{spelt('.')})(?<!{BARE_START}[\w.-]{{0,253}}+)"
_TITLE = r"[ \t]*+(?:\"[^\"()\n]{0,200}\"[ \t]*+|'[^'()\n]{0,200}'[ \t]*+)?"
_PATTERN = (
    rf"(?P<link>(?:{START}|{_WWW}){BODY})(?P<rest>\S{{0,{MOST_CHARS}}}+)"
    rf"(?:{_TITLE}(?:(?P<bracket>\))|(?P<line>\n|\Z)))?"
)


class LinkFinder(PatternFinder):
    """Finds links. A link that renderers end at different positions is labelled `OPEN` and extends to the last of
    them."""

    def __init__(self) -> None:
        super().__init__([Pattern(LINK, _PATTERN, ignore_case=True)])

    def find(self, text: str, start: int = 0, before: int | None = None) -> list[Finding]:
        found = []
        for match in self._any.finditer(text, start, overlapped=True):
            if before is not None and match.start() >= before:
                break
            found.append(_finding(text, match))
        return found

    def links(self, text: str) -> frozenset[str]:
        """The first links of a text, complete. Links that don't end within the length limits are left out."""
        matches = islice(self._any.finditer(text, overlapped=True), MOST_LINKS)
        cores = {_core(match["link"]) for match in matches}
        return frozenset(core for core in cores if len(core) < MOST_CHARS)


LINKS = LinkFinder()


def _finding(text: str, match: regex.Match[str]) -> Finding:
    start, core = match.start(), _core(match["link"])
    rest = text[start + len(core) : match.end("rest")]
    if _closed(_opener(text, start), core, rest, match):
        return Finding(start, start + len(core), LINK)
    return Finding(start, match.end("rest"), OPEN)


def _core(link: str) -> str:
    return regex.split(r"[)\]]", link, maxsplit=1)[0].rstrip(_PUNCTUATION)


def _opener(text: str, start: int) -> str:
    """Markup before a link; "" for a bare link. For quotes and = outside a tag, the result begins with a blank."""
    match = _OPENER.match(text, start)
    if match is None:
        return ""
    outer, opener = match["outer"] or "", match["opener"]
    if opener == "<":
        return outer + opener
    return opener if "(" in opener or ":" in opener or _IN_TAG.match(text, start) else f" {opener}"


class Images:
    """Detects whether an image, or anything else that loads without a click, occurs before a link.

    Markdown and HTML renderers disagree about which link an image uses, so all links after the image count.
    """

    def __init__(self) -> None:
        self._searched = 0
        self._first: int | None = None

    def before(self, text: str, start: int) -> bool:
        """Whether an image occurs before ``start``. ``text`` may only grow between calls."""
        if self._first is None:
            found = _IMAGE.search(text, max(0, self._searched - MOST_TAG))
            self._first = found.start() if found else None
            self._searched = len(text)
        known = self._first is not None and self._first < start
        return known or _DEFINED.match(text, start) is not None


def _closed(opener: str, core: str, rest: str, found: regex.Match[str]) -> bool:
    """Whether every renderer ends the link after ``core``. Some renderers include all text up to a bracket or line end,
    unless that text is a title."""
    behind = rest.lstrip(_PUNCTUATION)
    ends = _CLOSING.fullmatch(behind) is not None
    over = ends or (behind[1:2] not in ("@", "(") and _LABELLED.match(found.string, found.start()) is not None)
    match opener:
        case "<":
            return ends and behind.startswith(">") and "<" not in behind
        case "](<":
            return (over and behind.startswith(">)")) or (behind == ">" and found["bracket"] is not None)
        case "]:<":
            return behind == ">" and found["line"] is not None
        case '"' | "'":
            return behind.startswith(opener) and behind[1:2] in ("", ">", "/") and opener not in behind[1:]
        case "](" | "url(":
            within = found["bracket"] is not None or found["line"] == ""
            return within if not behind else over and behind[0] == ")" and "(" not in core
        case "]:":
            return not behind and found["line"] is not None
        case "=":
            return "=" not in core and (not behind or behind.startswith(">"))
        case ' "' | " '":
            return ends and behind.startswith(opener[1]) and "<" not in behind
        case " =":
            return ends and "<" not in behind
        case _:
            return ends
