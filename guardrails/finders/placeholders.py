"""Hosts and contacts that setup instructions name and that lead to nobody: this machine, and names for examples."""

from __future__ import annotations

from urllib.parse import urlsplit

from guardrails.finders.hosts import Address

THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1"})
EXAMPLES = frozenset({"example.com", "example.net", "example.org"})
"""Names that are reserved for examples (RFC 2606, section 3)."""
_FORGES = frozenset({"git@github.com", "git@gitlab.com", "git@bitbucket.org", "git@codeberg.org"})
"""Addresses of SSH remotes, which are nobody's e-mail."""
_ANYBODY = frozenset(
    {"you", "your", "your.name", "your.email", "your_email", "youremail", "yourname", "me", "name", "email", "user"}
    | {"username", "someone", "somebody", "foo", "bar", "test", "john.doe", "jane.doe"}
)
"""Names of examples. Any other could be a secret or a person."""
_MORE = frozenset("?#@;\\&%")
"""Signs of a query, a fragment, a user name or another spelling of them."""


def leads_nowhere(url: str, addresses: frozenset[Address], *, paths: bool = True) -> bool:
    """Whether a URL leads to this machine, or to an example's name without a path. It must have no query, no fragment
    and no user name.

    Args:
        paths: whether a URL to this machine may have a path.
    """
    if not addresses or not _MORE.isdisjoint(url):
        return False
    hosts = {host.removeprefix("www.") for host, _ in addresses}
    return (hosts <= THIS_MACHINE and paths) or (hosts <= THIS_MACHINE | EXAMPLES and _path(url) in ("", "/"))


def is_nobody(email: str) -> bool:
    """Whether a plain e-mail address is an example (``you@example.com``) or that of an SSH remote."""
    local, _, domain = email.rpartition("@")
    return email in _FORGES or (domain in EXAMPLES and local in _ANYBODY)


def _path(url: str) -> str | None:
    try:
        return urlsplit(url).path
    except ValueError:
        return None
