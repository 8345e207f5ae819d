"""The console's login link: made here, and handed to the console where nobody else can read it."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

FD = "FLIGHTLOOP_CONSOLE_LINK_FD"
"""Tells the console the number of the socket that it inherits."""
LIFETIME_S = 900


def _new_token() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class LoginLink:
    """A token that the console exchanges once for ``key``, within ``LIFETIME_S`` of its start."""

    key: str = field(repr=False)
    token: str = field(default_factory=_new_token, repr=False)

    def url(self, console: str) -> str:
        return f"{console}/?token={self.token}"

    @contextmanager
    def handed_over(self) -> Iterator[int]:
        """A descriptor for a child to inherit, from which it reads token and key once.

        A command line can be read by everybody on this computer, and an environment or a pipe by whatever runs as the
        same user: a socket can't be opened again through /proc.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            with ours:
                ours.sendall(json.dumps({"token": self.token, "key": self.key, "seconds": LIFETIME_S}).encode())
            yield theirs.fileno()
