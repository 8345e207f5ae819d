"""Tells host names from file names, attributes and versions by their last label.

Top-level domains come from the Public Suffix List (https://publicsuffix.org), which ``publicsuffixlist`` brings along:
nothing is fetched.
"""

from __future__ import annotations

from enum import Enum
from functools import cache, lru_cache
from pathlib import Path

import yaml
from publicsuffixlist import PublicSuffixList

RESERVED = frozenset({"example", "test", "invalid", "localhost", "onion", "local", "internal", "lan", "corp"})
"""Names that no registry gives out (RFC 2606, RFC 6761, RFC 7686), some of them common within networks."""
METHODS = frozenset({"info", "int", "invalid", "test"})
"""Top-level domains that end a host, but not if an opening bracket follows, as after a method."""
_PRODUCTS = frozenset({"asp.net", "vb.net", "ado.net", "ml.net", "socket.io", "system.io", "java.io", "draw.io"})
"""Names of software that people write as they are, without meaning the address."""
_AFTER_SENTENCE = frozenset({"com", "org", "example"})
_PLACEHOLDERS = frozenset({"example", "test"})
"""Reserved names that end a template's name or a package, and that lead nowhere."""


class Name(Enum):
    """Kinds of dotted names."""

    HOST = "host"
    AMBIGUOUS = "ambiguous"
    """A host if a path, a query or a port follows it; otherwise an attribute, a sentence without a blank, or a file."""
    FILE = "file"
    """A file's name, or a host if a path follows that no other path precedes."""
    OTHER = "other"
    """No top-level domain ends it."""


def kind_of(host: str) -> Name:
    """Kind of a dotted name, by its last labels. ``host`` is in the form of ``flightloop.egress.plain_host``."""
    labels = host.split(".")
    last = labels[-1]
    if len(labels) < 2 or not all(labels) or "_" in labels[-2] or not (last in RESERVED or _is_top_level(last)):
        return Name.OTHER
    if host in _PRODUCTS:
        return Name.AMBIGUOUS
    if last in _PLACEHOLDERS and (labels[0] in _words("reversed") or labels[-2] in _words("templates")):
        return Name.FILE
    return _other_meanings().get(last, Name.HOST)


def before_sentence(labels: list[str]) -> int:
    """Number of labels of a host that a sentence follows without a blank ("evil.com.Then"); 0 if there is none, or if
    the name is that of a package ("com.example.Main")."""
    if labels[0] in _words("reversed") and labels[1] in _PLACEHOLDERS:
        return 0
    return next((at + 1 for at in range(len(labels) - 2, 0, -1) if labels[at] in _AFTER_SENTENCE), 0)


@lru_cache(4096)
def _is_top_level(label: str) -> bool:
    return _suffixes().publicsuffix(f"a.{label}") is not None


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)


@cache
def _other_meanings() -> dict[str, Name]:
    """Top-level domains that are rather words, or extensions of files."""
    return dict.fromkeys(_words("words"), Name.AMBIGUOUS) | dict.fromkeys(_words("files"), Name.FILE)


@cache
def _words(name: str) -> frozenset[str]:
    """One of the lists of ``suffixes.yaml``."""
    lists = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return frozenset(lists[name])
