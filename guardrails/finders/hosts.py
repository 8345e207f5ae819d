"""Finds the hosts that the URLs in a text lead to."""

from __future__ import annotations

from urllib.parse import urlsplit

import regex

from flightloop.egress import plain_host
from guardrails.finders.pattern import not_after
from guardrails.text.spelling import BLANKS, as_read, spelt

_GAP = spelt("\t\r\n") + "*+"  # characters that browsers ignore in a URL
_SLASH, _COLON = spelt("/\\"), spelt(":")


def _schemes(gap: str) -> tuple[str, str]:
    """Patterns of the schemes http, https and ftp, and of ws and wss. ``gap`` matches what may be between letters."""
    http, ws, ftp = (gap.join(map(spelt, scheme)) for scheme in ("http", "ws", "ftp"))
    secure = f"(?:{gap}{spelt('s')})?"
    return f"(?:{http}{secure}|{ftp})", f"{ws}{secure}"


_PAGE, _SOCKET = _schemes("")
BARE_START = f"(?:{_PAGE}|{not_after('a-z')}{_SOCKET}){_COLON}{_SLASH}{{1,4}}"
"""http, https and ftp may follow a letter, since some renderers see a link there."""
_LEAD = f"(?:[<>]|{spelt(BLANKS | {chr(34), chr(39)})})"
LEADING = f"{_LEAD}*"
"""Characters that may precede a link target: blanks, quotes, angle brackets (``>`` begins a quoted line)."""
_TARGET = rf"(?<=(?:\]\(|\]:|=|,|url{spelt('(')}|@import){LEADING})"
"""Markup that precedes a link target in Markdown, HTML and CSS."""
_NO_SCHEME = rf"{_SLASH}(?:{_GAP}{_SLASH}){{1,3}}{_GAP}"
_FOLLOWED = rf"(?:{_NO_SCHEME}|(?:{'|'.join(_schemes(_GAP))}){_GAP}{_COLON}(?:{_GAP}{_SLASH}){{0,4}})"
START = rf"(?=[hwf/&]|\\(?!;))(?:(?!{_LEAD}){_TARGET}{_FOLLOWED}|{BARE_START})"
MOST_CHARS = 2000
"""Longest part of a link after its scheme and user, in characters."""
_USER = rf"(?:[^\s/?#\"<]{{0,{MOST_CHARS}}}@)?"
"""User part of a URL. Text before an @ is never the host, even if it contains characters that end a link elsewhere."""
BODY = rf"[^\s<>\"'`^{{|}}]{{1,{MOST_CHARS}}}+"
URL = START + _USER + BODY
_NAME = r"(?>www\.(?:[^\s<>/?#@:.]{1,63}\.)+[^\W\d_]{2,24})"
"""Renderers of Markdown take almost any character in the labels of a name that begins with ``www.``."""
_NUMBERS = r"\d{1,3}(?:\.\d{1,3}){3}"
_NO_WORD = not_after(r"\w@.-")
BARE = regex.compile(rf"(?:{not_after('a-zA-Z0-9@.-')}{_NAME}|{_NO_WORD}{_NUMBERS})(?::[0-9]+)?(?![\w.-]*+@)")
DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443, "ftp": 21}
_URL = regex.compile(URL, regex.IGNORECASE)

Address = tuple[str, int]
"""Host in the form of ``flightloop.egress.plain_host``, and port."""


def addresses_of(url: str) -> frozenset[Address]:
    """The addresses that clients may connect to for a URL: several if they disagree about a backslash or a character
    reference.

    ``http://good.com@evil.com`` leads to evil.com. A name that isn't ASCII is compared in its IDNA form,
    so a look-alike is another host. A text that isn't a URL has the host "".
    """
    readings = {url, as_read(url)}
    return frozenset(_address_of(each) for each in readings | {each.replace("\\", "/") for each in readings})


def addresses_in(text: str) -> frozenset[Address]:
    """Addresses of all URLs, bare ``www.`` names and IPv4 addresses in a text. The default port is that of HTTPS."""
    found = frozenset().union(*(addresses_of(match.group()) for match in _URL.finditer(text)))
    hosts = {host for host, _ in found}
    # Matches inside URLs too, where the port is known already: those hosts are skipped below.
    bare = [match.group() for match in BARE.finditer(text)]
    others = [addresses_of("https://" + each) for each in bare if ":" in each or plain_host(each) not in hosts]
    return found.union(*others)


def is_url(text: str) -> bool:
    """Whether a text is one URL and nothing else."""
    return _URL.fullmatch(text.strip()) is not None


def hosts_in(text: str) -> frozenset[str]:
    """Like ``addresses_in``, without the ports."""
    return frozenset(host for host, _ in addresses_in(text))


def _address_of(url: str) -> Address:
    try:
        parts = urlsplit(f"https://{url}" if url[:4].lower() == "www." else url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme.lower(), 0)
    except ValueError:
        return "", 0
    return plain_host(parts.hostname or ""), port
