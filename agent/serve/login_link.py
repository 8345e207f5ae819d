"""Login link of the console: created here and passed to the console so that no other process can read it."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

FD = "FLIGHTLOOP_CONSOLE_LINK_FD"
"""Environment variable with the descriptor of the socket that the console inherits."""
LIFETIME_S = 900


def _new_token() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class LoginLink:
    """A one-time token for ``key``, valid for ``LIFETIME_S`` after the console's start."""

    key: str = field(repr=False)
    token: str = field(default_factory=_new_token, repr=False)

    def url(self, console: str) -> str:
        return f"{console}/?token={self.token}"

    @contextmanager
    def handed_over(self) -> Iterator[int]:
        """Yields a descriptor from which a child process can read token and key once.

        Command lines are public, and an environment or a pipe can be read by any process of the same user. A socket
        can't be opened again through /proc.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            with ours:
                ours.sendall(json.dumps({"token": self.token, "key": self.key, "seconds": LIFETIME_S}).encode())
            yield theirs.fileno()
