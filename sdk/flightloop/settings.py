"""Settings of the client: the server's URL and the API key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from flightloop.errors import ConfigError

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class ClientSettings:
    base_url: str
    api_key: str = field(repr=False)
    timeout_s: float = 60.0
    """Longest silence before a response counts as lost; the server's streams send pings more often."""
    retries: int = 2
    key_from: str | None = None
    """Where the client found the key: a variable or a file; None: the program gave it."""

    @property
    def proxied(self) -> bool:
        """Whether the environment's proxy settings apply; never for localhost."""
        return urlsplit(self.base_url).hostname not in ("127.0.0.1", "localhost", "::1")


def address(base_url: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The server's base URL without ``/v1``: the argument, ``FLIGHTLOOP_URL``, or ``FLIGHTLOOP_PORT`` of this computer.

    Raises:
        ConfigError: the value is not an HTTP or HTTPS URL.
    """
    port = environ.get("FLIGHTLOOP_PORT") or "0"  # 0: the server takes any
    here = f"http://127.0.0.1:{port}" if port.isdecimal() and port.strip("0") else DEFAULT_URL
    url = (base_url or environ.get("FLIGHTLOOP_URL") or here).rstrip("/").removesuffix("/v1")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"FLIGHTLOOP_URL must begin with http:// or https:// (got {url!r})")
    try:
        _ = httpx.URL(url).host
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigError(f"FLIGHTLOOP_URL is not a URL: {error} (got {url!r})") from None
    return url


def resolve(
    base_url: str | None = None,
    api_key: str | None = None,
    *,
    timeout_s: float = 60.0,
    retries: int = 2,
    environ: Mapping[str, str] = os.environ,
) -> ClientSettings:
    """Settings from arguments, else ``FLIGHTLOOP_URL`` and ``FLIGHTLOOP_API_KEY``, else the key file.

    The key file is ``key`` in ``FLIGHTLOOP_HOME`` (default ``.flightloop`` in the working directory). A server on this
    computer creates it at its first start.

    Raises:
        ConfigError: the URL is invalid, there is no key, or it can't be sent.
    """
    url = address(base_url, environ)
    key, key_from = api_key, None
    if not key:
        path = Path(environ.get("FLIGHTLOOP_HOME") or ".flightloop") / "key"
        key = environ.get("FLIGHTLOOP_API_KEY")
        key, key_from = (key, "FLIGHTLOOP_API_KEY") if key else (_key_in(path), str(path))
    if not (key.isascii() and key.isprintable()):  # a header takes nothing else
        raise ConfigError("the API key (FLIGHTLOOP_API_KEY, or the key file) must have printable ASCII characters only")
    return ClientSettings(url, key, timeout_s, retries, key_from)


def _key_in(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        advice = "set FLIGHTLOOP_API_KEY, or FLIGHTLOOP_HOME to the home of a server that was started once"
        raise ConfigError(f"no API key: {advice} ({path}: {error.strerror})") from None
    if not key:
        raise ConfigError(f"the key file {path} is empty")
    return key
