"""The login link: a token that is exchanged once, and within its time, for the deployment's API key.

``python -m agent up`` makes the token, prints the link, and leaves token and key in a socket that this process
inherits. Neither is on a command line or in an environment, which others can read, nor on a disk.
"""

from __future__ import annotations

import hmac
import json
import socket
import time
from collections.abc import Callable, MutableMapping
from threading import Lock, Timer

from flightloop.errors import Unauthorized

FD = "FLIGHTLOOP_CONSOLE_LINK_FD"
"""Number of the inherited socket, in the environment."""
PARAMETER = "token"
"""Of the console's address."""
LONGEST = 65_536


class LoginLink:
    """Threads may share one. The key is forgotten once it is given away, or after its time.

    Args:
        token: what the link carries.
        key: what it is exchanged for.
        lifetime_s: seconds from now.
    """

    def __init__(self, token: str, key: str, lifetime_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token.encode()
        self._key: str | None = key
        self._until, self._clock = clock() + lifetime_s, clock
        self._why_not = "This link has expired."
        self._lock = Lock()
        self._timer = Timer(lifetime_s, self._forget)
        self._timer.daemon = True
        self._timer.start()

    def exchange(self, token: str) -> str:
        """The key, for the first who brings the token.

        Raises:
            Unauthorized: the token is another one, was used before, or came too late.
        """
        if not hmac.compare_digest(self._token, token.encode(errors="replace")):
            raise Unauthorized("This link is not that of the console's start.")
        with self._lock:
            if self._clock() >= self._until:
                self._key = None
            key, self._key = self._key, None
            if key is None:
                raise Unauthorized(self._why_not)
            self._why_not = "This link has been used: it logs in once."
        self._timer.cancel()
        return key

    @property
    def spent(self) -> bool:
        """Whether the key is forgotten."""
        return self._key is None

    def _forget(self) -> None:
        with self._lock:
            self._key = None


def receive(environ: MutableMapping[str, str]) -> LoginLink | None:
    """The link that whoever started this process left for it; None: no link.

    Reads the socket to its end and closes it, so that it can be read once.

    Raises:
        SystemExit: the variable names no such socket, or there is no link in it.
    """
    number = environ.pop(FD, None)
    if number is None:
        return None
    try:
        with socket.socket(fileno=int(number)) as left, left.makefile("rb") as stream:
            document = json.loads(stream.read(LONGEST))
        return LoginLink(str(document["token"]), str(document["key"]), float(document["seconds"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(
            f"{FD}={number}: holds no login link ({type(error).__name__}); `python -m agent up` sets it, leave it unset"
        ) from None


_offered: list[LoginLink] = []


def offer(link: LoginLink) -> None:
    """Makes it the link of this process."""
    _offered[:] = [link]


def exchange(token: str) -> str:
    """As ``LoginLink.exchange``, of this process's link.

    Raises:
        Unauthorized: also where there is none.
    """
    if not _offered:
        raise Unauthorized("This console was started without a link.")
    return _offered[0].exchange(token)
