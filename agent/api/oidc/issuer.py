"""An OpenID Connect issuer: its metadata and signing keys, read over HTTP and read again when they may have changed."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog

from agent.api.oidc.signing_key import SigningKey, signing_keys
from flightloop.errors import IssuerUnavailable, Unauthorized

log = structlog.get_logger(__name__)
METADATA = "/.well-known/openid-configuration"
"""Path of the metadata below the issuer (OpenID Connect Discovery 1.0, section 4)."""
FRESH_S = 300.0
"""Seconds after which the keys are read again: a key that the issuer has withdrawn works no longer than this."""
AGAIN_S = 10.0
"""Least seconds between two attempts, because anybody can send tokens that name unknown keys."""
STALE_S = 3600.0
"""Seconds for which keys are used while the issuer can't be reached."""
TIMEOUT_S = 5.0
MOST_BYTES = 1 << 20


class Issuer:
    """Reads an issuer's signing keys on demand. For one event loop.

    Args:
        url: the issuer, exactly as in the claim ``iss``.
        clock: seconds of a clock that never goes back.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._clock = clock
        self._keys: list[SigningKey] = []
        self._read_at = self._tried_at = -float("inf")
        self._lock = asyncio.Lock()

    async def key(self, kid: str | None, algorithm: str) -> SigningKey:
        """The key that verifies signatures of this algorithm.

        Args:
            kid: id of the key in the token; None: the issuer's only key.

        Raises:
            Unauthorized: the issuer has no such key.
            IssuerUnavailable: its keys can't be read.
        """
        if self._is_due(kid):
            async with self._lock:
                if self._is_due(kid):  # not if somebody else has just read them
                    await self._read()
        if self._clock() - self._read_at > STALE_S:
            raise IssuerUnavailable(
                f"the keys of the OIDC issuer {self.url} can't be read; try again", retry_after=AGAIN_S
            )
        found = self._find(kid)
        if found is None or not found.fits(algorithm):
            raise Unauthorized("the token is not signed with a key of its issuer for this algorithm")
        return found

    def _find(self, kid: str | None) -> SigningKey | None:
        fitting = [key for key in self._keys if kid in (None, key.kid)]
        return fitting[0] if len(fitting) == 1 else None

    def _is_due(self, kid: str | None) -> bool:
        now = self._clock()
        if now - self._tried_at < AGAIN_S:
            return False
        return now - self._read_at >= FRESH_S or self._find(kid) is None

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(2 * TIMEOUT_S), httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                metadata = await _document(client, self.url.rstrip("/") + METADATA)
                if metadata.get("issuer") != self.url:
                    raise ValueError(f"its metadata name another issuer: {metadata.get('issuer')!r:.200}")
                keys = signing_keys(await _document(client, trusted(str(metadata.get("jwks_uri")))))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TimeoutError, RecursionError) as error:
            log.warning("keys of the OIDC issuer not read", issuer=self.url, error=str(error) or type(error).__name__)
        else:
            self._keys, self._read_at = keys, self._clock()
        self._tried_at = self._clock()  # now, so that whoever comes meanwhile waits for the keys


def trusted(url: str) -> str:
    """The URL. Raises ValueError unless it is an HTTPS URL, or one of this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname and not parts.username:
        return url
    if parts.scheme == "http" and _is_here(parts.hostname or "") and not parts.username:
        return url
    raise ValueError(
        "must be a URL that begins with https://, because whoever changes the answer can log in as anybody"
    )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _document(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """A JSON object. Raises httpx.HTTPError, and ValueError if the answer isn't one or is too long."""
    async with client.stream("GET", url, headers={"accept": "application/json"}) as answer:
        if answer.status_code != 200:
            raise ValueError(f"{url} answered with the status {answer.status_code}")
        body = bytearray()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise ValueError(f"{url} answered with more than {MOST_BYTES} bytes")
    found = httpx.Response(200, content=bytes(body)).json()
    if not isinstance(found, dict):
        raise ValueError(f"{url} did not answer with a JSON object")
    return found
