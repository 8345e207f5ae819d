"""Links in what is shown: where one ends for those who follow it, and who vouches for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
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
MOST_LABEL = 500
"""Characters of a Markdown link's text; behind a longer one it is taken for an image."""
_ATTRIBUTE = regex.compile(r"(?:=\s*[\"']?|\burl\(\s*[\"']?|\]:)$", regex.IGNORECASE)
_ANCHOR = regex.compile(r"<a\s(?:[^<>]*\s)?href\s*=\s*[\"']?$", regex.IGNORECASE)
_PUNCTUATION = ".,;:!?*"
_CLOSING = regex.compile(r"[)\]}>.,;:!?*_~'\"|`]*")
_WITH_PATH = regex.compile(r"[^/\\]*[/\\]{1,4}[^/\\?#]+[/\\?#]")
_OF_NAMES = r"\w+.-"
_NO_NAME = not_after(r"\w@./-")
# Behind a link, what belongs to it for some reader: HTML's and Markdown's ends are not those of a sentence.
_PATTERN = rf"(?P<link>{not_after(_OF_NAMES)}{START}{BODY}|{_NO_NAME}www\.{BODY})(?P<rest>\S{{0,{MOST_CHARS}}}+)"


class LinkFinder(PatternFinder):
    """Finds links. One whose end is not the same for all readers is an `OPEN` one, as long as any of them takes it."""

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
        """The first links of a text, each to its end; those that have none within reason are left out."""
        matches = islice(self._any.finditer(text, overlapped=True), MOST_LINKS)
        cores = {_core(match["link"]) for match in matches}
        return frozenset(core for core in cores if len(core) < MOST_CHARS)


LINKS = LinkFinder()


def vouched_for(entry: LinksEntry, egress: tuple[str, ...]) -> Watch:
    """Keeps links to hosts that the user named or the policy lets be reached, and links of results as they are: what
    is loaded without a click of trusted results only, since a stranger's may be one of many that spell out a secret."""

    def watch(context: GuardContext) -> Callable[[str, list[Finding]], list[Finding]]:
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
                and any(link in told(result) for result in (trusted if _loads(text, finding.start) else results))
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


def _loads(text: str, start: int) -> bool:
    """Whether a link is one that some reader follows by itself: an image's, or an attribute's."""
    before = text[max(0, start - MOST_LABEL) : start].rstrip()
    if before.endswith("<"):
        before = before[:-1].rstrip()
    if not before.endswith("]("):
        return _ATTRIBUTE.search(before) is not None and _ANCHOR.search(before) is None
    depth = 0
    for at in range(len(before) - 2, -1, -1):
        depth += {"]": 1, "[": -1}.get(before[at], 0)
        if depth == 0:
            return before[at - 1 : at] == "!"
    return True


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
