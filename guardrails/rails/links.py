"""Links in what is shown: where one ends for those who follow it, and who vouches for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from html import unescape
from itertools import islice
from urllib.parse import unquote

import regex

from guardrails.document import LinksEntry
from guardrails.finders import Finding, Pattern, PatternFinder, not_after
from guardrails.hosts import BODY, MOST_CHARS, START, Address, addresses_of, hosts_in, permitted
from guardrails.rails.found import Watch
from guardrails.rails.normalise import normalise, unescaped
from guardrails.types import GuardContext

LINK, OPEN = "link", "open_link"
MOST_LINKS = 1000
"""Of a result that are known: a text of nothing else takes long to read, and others wait meanwhile."""
MOST_TAG = 100
"""Characters of a tag's name, or between a reference and its link."""
_IMAGE = regex.compile(r"!\[|<(?!/?a[\s>])/?[a-z][\w-]*(?=[\s/>])|<[!?]|\burl\(|@import", regex.IGNORECASE)
_DEFINED = regex.compile(r"\]:[\s<>]*$")
_PUNCTUATION = ".,;:!?*"
_CLOSING = regex.compile(r"[)\]}>.,;:!?*_~'\"|`]*")
_WITH_PATH = regex.compile(r"[^/\\]*[/\\]{1,4}[^/\\?#]+[/\\?#]")
_OF_NAMES = r"\p{L}\p{N}+.-"  # an underscore may mark emphasis
_NO_NAME = not_after(r"\w@./-")
# Behind a link, what belongs to it for some reader: HTML's and Markdown's ends are not those of a sentence.
_DISGUISED = r"(?<=(?:\]\(|\]:)[\s<>\"']*)(?=[^\s<>\"'])[^\s()]{0,300}?(?:&[#\w]{1,12};|\\)[^\s)]{0,300}+"
"""A target with entities or escapes, which Markdown takes off."""
_PATTERN = (
    rf"(?:(?P<link>{not_after(_OF_NAMES)}{START}{BODY}|{_NO_NAME}www\.{BODY})(?P<rest>\S{{0,{MOST_CHARS}}}+))"
    rf"|(?P<disguised>{_DISGUISED})"
)
_ESCAPE = regex.compile(r"\\([!-/:-@\[-`{-~])")
_LEADS_OUT = regex.compile(r"(?i)[a-z][a-z0-9+.-]*:|[/\\]{2}|www\.")


class LinkFinder(PatternFinder):
    """Finds links. One whose end is not the same for all readers is an `OPEN` one, as long as any of them takes it."""

    def __init__(self) -> None:
        super().__init__([Pattern(LINK, _PATTERN, ignore_case=True)])

    def find(self, text: str, start: int = 0, before: int | None = None) -> list[Finding]:
        found = []
        for match in self._any.finditer(text, start, overlapped=True):
            if before is not None and match.start() >= before:
                break
            if match["disguised"] is None:
                found.append(_finding(text, match))
            elif _LEADS_OUT.match(unescape(_ESCAPE.sub(r"\1", match["disguised"]))):
                found.append(Finding(match.start(), match.end(), OPEN))
        return found

    def links(self, text: str) -> frozenset[str]:
        """The first links of a text, each to its end; those that have none within reason are left out."""
        matches = islice(self._any.finditer(text, overlapped=True), MOST_LINKS)
        cores = {_core(match["link"]) for match in matches if match["link"]}
        return frozenset(core for core in cores if len(core) < MOST_CHARS)


LINKS = LinkFinder()


def vouched_for(entry: LinksEntry, egress: tuple[str, ...]) -> Watch:
    """Keeps links to hosts that the user named or the policy lets be reached, and links of results as they are: what
    is loaded without a click of trusted results only, since a stranger's may be one of many that spell out a secret."""

    def watch(context: GuardContext) -> Callable[[str, list[Finding]], list[Finding]]:
        images = _Images()
        results = context.results if "results" in entry.keep else ()
        trusted = context.trusted_results if "results" in entry.keep else ()

        @cache
        def known() -> frozenset[str]:
            return (hosts_in(context.user_text) if "user" in entry.keep else frozenset()) - {""}

        @cache
        def written() -> tuple[str, ...]:
            """What the model wrote, which a tool or an error may only repeat."""
            plain = normalise(unescaped("\n".join(context.written))).casefold()
            return plain, unquote(plain)

        def told(result: str) -> frozenset[str]:
            """A result's links, which are looked for once a run."""
            found = context.memo.get((LinkFinder, result))
            if not isinstance(found, frozenset):
                found = context.memo[LinkFinder, result] = LINKS.links(result)
            return found

        def stands(address: Address) -> bool:
            host, port = address
            return permitted(host, egress, port) or host in known()

        def repeated(link: str, addresses: Iterable[Address]) -> bool:
            names = {normalise(link).casefold(), *(host for host, _ in addresses)}
            return any(name in text for name in names for text in written())

        def kept(text: str, finding: Finding) -> bool:
            link = text[finding.start : finding.end]
            addresses = addresses_of(link)
            if all(map(stands, addresses)):
                return finding.label == LINK or _WITH_PATH.match(link) is not None
            # A result's link as it is: with its host alone known, another link could carry what was read to it.
            return (
                finding.label == LINK
                and any(link in told(one) for one in (trusted if images.before(text, finding.start) else results))
                and not repeated(link, addresses)
            )

        return lambda text, findings: [finding for finding in findings if not kept(text, finding)]

    return watch


def _finding(text: str, match: regex.Match[str]) -> Finding:
    start, core = match.start(), _core(match["link"])
    rest = text[start + len(core) : match.end()]
    if _closed(_opener(text, start), core, rest):
        return Finding(start, start + len(core), LINK)
    return Finding(start, match.end(), OPEN)


def _core(link: str) -> str:
    return regex.split(r"[)\]]", link, maxsplit=1)[0].rstrip(_PUNCTUATION)


def _opener(text: str, start: int) -> str:
    """The last sign of what makes a link of what follows; "" where it is one by itself."""
    at = start
    while at and text[at - 1].isspace():
        at -= 1
    before = text[max(0, at - 4) : at].lower()
    if before.endswith(("<", '"', "'", "](", "]:", "url(", "=")):
        return before[-1]
    return ""


class _Images:
    """Whether a text has an image, or anything else that loads by itself, somewhere before a link.

    Which link belongs to it is Markdown's and HTML's to say, in ways that no two readers share: all that follow may be.
    """

    def __init__(self) -> None:
        self._searched = 0
        self._first: int | None = None

    def before(self, text: str, start: int) -> bool:
        """``text`` grows from one question to the next."""
        if self._first is None:
            found = _IMAGE.search(text, max(0, self._searched - MOST_TAG))
            self._first = found.start() if found else None
            self._searched = len(text)
        known = self._first is not None and self._first < start
        return known or _DEFINED.search(text, max(0, start - MOST_TAG), start) is not None


def _closed(opener: str, core: str, rest: str) -> bool:
    """Whether every reader takes the link to end with its core."""
    behind = rest.lstrip(_PUNCTUATION)
    match opener:
        case "<":
            return behind.startswith(">")
        case '"' | "'":
            return behind.startswith(opener)
        case "(":
            return not behind or (behind.startswith(")") and behind[1:2] != "@" and "(" not in core)
        case ":":
            return not behind
        case "=":
            return not behind or behind.startswith(">")
        case _:
            return _CLOSING.fullmatch(behind.partition("<")[0]) is not None
