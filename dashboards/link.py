"""Login link: a token that can be exchanged once, for a limited time, for the deployment's API key.

``python -m agent up`` creates the token, prints the link, and passes token and key in a socket that this
process inherits. So neither is on a command line, in an environment or on disk, where others could read it.
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
"""Query parameter of the token in the console's URL."""
LONGEST = 65_536


class LoginLink:
    """A login link. Thread-safe. The key is discarded once the link was used or has expired.

    Args:
        token: the token in the link.
        key: the API key that it is exchanged for.
        lifetime_s: seconds until the link expires.
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
        """Returns the key to the first caller with the token.

        Raises:
            Unauthorized: the token is wrong, was used before, or has expired.
        """
        if not hmac.compare_digest(self._token, token.encode(errors="replace")):
            raise Unauthorized("This link belongs to another start of the console.")
        with self._lock:
            if self._clock() >= self._until:
                self._key = None
            key, self._key = self._key, None
            if key is None:
                raise Unauthorized(self._why_not)
            self._why_not = "This link has been used; it is valid only once."
        self._timer.cancel()
        return key

    @property
    def spent(self) -> bool:
        """Whether the link was used or has expired."""
        return self._key is None

    def _forget(self) -> None:
        with self._lock:
            self._key = None


def receive(environ: MutableMapping[str, str]) -> LoginLink | None:
    """Receives the link that the parent process passed; None if it passed none.

    Reads the socket to its end and closes it, so that it can be read only once.

    Raises:
        SystemExit: the variable isn't the number of such a socket, or the socket contains no link.
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
            f"{FD}={number}: no login link ({type(error).__name__}); unset it: only `python -m agent up` sets it"
        ) from None


_offered: list[LoginLink] = []


def offer(link: LoginLink) -> None:
    """Sets the login link of this process, which `exchange` uses."""
    _offered[:] = [link]


def exchange(token: str) -> str:
    """Like ``LoginLink.exchange``, for this process's link.

    Raises:
        Unauthorized: also if there is no link.
    """
    if not _offered:
        raise Unauthorized("This console was started without a link.")
    return _offered[0].exchange(token)
