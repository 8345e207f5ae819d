"""Section ``egress`` of a policy: what may leave in answers and in arguments of calls."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import regex
from pydantic import BaseModel, ConfigDict, Field, field_validator

from flightloop.egress import EgressEntry
from flightloop.patterns import to_the_end
from flightloop.verdicts import Action
from guardrails.regular_expression import RegularExpression

ContactSource = Literal["user", "trusted", "results"]
MOST_VALUE = 2000
_SEPARATORS = regex.compile(r"//+|/\.{1,2}(?=/|$)|[\\\x00-\x20]")
"""Parts of a path that clients and servers may rewrite: empty and relative segments, backslashes, blanks."""
_GAPS = regex.compile(r"[\s\x00-\x20\x7f]")
"""Blanks and control characters, which some clients remove from a URL and others encode."""

_OWN_CONTACT = regex.compile(
    r"(?:\*|[^\s@*,;<>()\[\]\"]{1,64})@(?:[^\W_](?:[\w-]{0,62}[^\W_])?\.){1,8}[^\W\d_](?:[\w-]{0,62}[^\W_])"
    r"|\(?\+?\(?\d(?:[ ()./-]{0,3}\d){6,14}"
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ValueShape(_Strict):
    """Shape of a query parameter's value."""

    max_length: int = Field(default=100, alias="maxLength", ge=0, le=MOST_VALUE)
    pattern: RegularExpression | None = None
    """Regular expression that the whole value must match."""

    def fits(self, value: str) -> bool:
        """Whether a decoded value has this shape. A pattern that takes too long is not matched."""
        if len(value) > self.max_length:
            return False
        try:
            return self.pattern is None or regex.fullmatch(to_the_end(self.pattern), value, timeout=0.05) is not None
        except TimeoutError:
            return False


class UrlShape(_Strict):
    """Limits of the URLs of an allowed host. A URL must fit one of the shapes of its host."""

    host: str
    """In the format of ``hosts``."""
    paths: tuple[Annotated[str, Field(pattern=r"^/")], ...] = Field(min_length=1)
    """Allowed paths; one that ends in ``/*`` allows all paths below."""
    query: dict[str, ValueShape] = Field(default_factory=dict)
    """Allowed query parameters. Others are refused."""

    @field_validator("host")
    @classmethod
    def _entry(cls, value: str) -> str:
        EgressEntry.parse(value)
        return value

    @field_validator("paths")
    @classmethod
    def _plain(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            if _SEPARATORS.search(path) or "*" in path[:-1] or (path.endswith("*") and not path.endswith("/*")):
                raise ValueError(f"{path!r} is not a path: write /path, or /path/* for all paths below it")
        return value

    def concerns(self, host: str, port: int) -> bool:
        return EgressEntry.parse(self.host).permits(host, port)

    def fits(self, url: str) -> bool:
        """Whether path and query of a URL are allowed. A user name or a fragment that isn't a plain word is not, nor is
        a blank or a control character anywhere."""
        if _GAPS.search(url):
            return False
        try:
            parts = urlsplit(url)
            pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
        except ValueError:
            return False
        names = [name for name, _ in pairs]
        return (
            "@" not in parts.netloc
            and regex.fullmatch(r"[A-Za-z][\w-]{0,39}|", parts.fragment, regex.ASCII) is not None
            and self._allows(unquote(parts.path or "/"))
            and ";" not in parts.query
            and len(set(names)) == len(names)
            and all(name in self.query and self.query[name].fits(value) for name, value in pairs)
        )

    def _allows(self, path: str) -> bool:
        if _SEPARATORS.search(path) or "%" in path:
            return False
        return any(path == one or (one.endswith("/*") and path.startswith(one[:-1])) for one in self.paths)


class Egress(_Strict):
    """Hosts that may be reached and linked to, and contacts that may be named."""

    hosts: tuple[str, ...] = ()
    """In the format of ``flightloop.egress``: ``host``, ``host:port``, ``*.host``."""
    urls: tuple[UrlShape, ...] = ()
    """Limits of the URLs of some hosts. A host without an entry here has none."""
    arguments: Action = Action.ASK
    """Action on a call with a link or host in an argument that nobody vouches for."""
    contacts: Action = Action.REDACT
    """Action on an e-mail address or a phone number that nobody vouches for. A call is not redacted: it waits for a
    person. An answer does not wait: it is withheld."""
    contacts_from: tuple[ContactSource, ...] = ("user", "trusted")
    """Sources that vouch for a contact: the user's own words, trusted results, all results of a run that isn't
    tainted."""
    own_contacts: tuple[Annotated[str, Field(min_length=3, max_length=200)], ...] = ()
    """Contacts that may always be named: an address, ``*@domain``, or a phone number."""

    @field_validator("own_contacts")
    @classmethod
    def _contacts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not _OWN_CONTACT.fullmatch(text.strip()):
                raise ValueError(
                    f"{text!r} is no contact: write an address (help@shop.example), *@ and a domain for all of its "
                    'addresses ("*@shop.example"), or a phone number of 7 to 15 digits ("+49 30 5550100")'
                )
        return value

    @field_validator("hosts")
    @classmethod
    def _entries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            EgressEntry.parse(text)
        return value

    @field_validator("arguments")
    @classmethod
    def _no_redact(cls, value: Action) -> Action:
        if value is Action.REDACT:
            raise ValueError("a call cannot be redacted; use allow, ask or block")
        return value

    def fits(self, url: str, host: str, port: int) -> bool:
        """Whether a URL of an allowed host has a shape that the policy allows."""
        shapes = [shape for shape in self.urls if shape.concerns(host, port)]
        return not shapes or any(shape.fits(url) for shape in shapes)
