"""Login with OpenID Connect: settings of Streamlit's own login, and the token of the person who logged in.

The console checks nothing about a person: it sends their identity token to the platform as the key of their
requests, and the platform verifies it. So a forged cookie of the console is worth nothing.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st

from flightloop import private

ISSUER, CLIENT_ID = "FLIGHTLOOP_OIDC_ISSUER", "FLIGHTLOOP_OIDC_CLIENT_ID"
SECRET_FILE = "FLIGHTLOOP_CONSOLE_OIDC_SECRET_FILE"
REDIRECT_URL = "FLIGHTLOOP_CONSOLE_OIDC_REDIRECT_URL"
COOKIE_SECRET_FILE = "FLIGHTLOOP_CONSOLE_OIDC_COOKIE_SECRET_FILE"
SCOPE = "FLIGHTLOOP_CONSOLE_OIDC_SCOPE"
CALLBACK = "/oauth2callback"
"""Path at which Streamlit receives the issuer's answer."""
METADATA = "/.well-known/openid-configuration"
"""Path of the metadata below the issuer (OpenID Connect Discovery 1.0, section 4)."""
LEAST_SECRET = 32
"""Characters of the secret that signs cookies."""


@dataclass(frozen=True)
class OidcSettings:
    """A client at an issuer."""

    issuer: str
    client_id: str
    redirect_url: str
    """URL of the console, with the path ``CALLBACK``, as registered at the issuer."""
    client_secret: str = field(repr=False)
    cookie_secret: str = field(repr=False)
    scope: str = "openid email profile"

    @property
    def is_encrypted(self) -> bool:
        """Whether browsers reach the console over HTTPS."""
        return self.redirect_url.startswith("https://")

    def secrets(self) -> dict[str, Any]:
        """Streamlit's section ``auth``."""
        return {
            "redirect_uri": self.redirect_url,
            "cookie_secret": self.cookie_secret,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "server_metadata_url": self.issuer.rstrip("/") + METADATA,
            "client_kwargs": {"scope": self.scope},
            "expose_tokens": "id",
        }


def oidc_settings(environ: Mapping[str, str]) -> OidcSettings | None:
    """Reads the settings; None: nobody logs in with OpenID Connect.

    Raises:
        SystemExit: a setting is missing or invalid, or a file can't be used.
    """
    given = {name: environ.get(name, "").strip() for name in (ISSUER, CLIENT_ID, SECRET_FILE, REDIRECT_URL)}
    if not given[SECRET_FILE] and not given[REDIRECT_URL]:  # the API may accept tokens without this console
        return None
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise SystemExit(f"{' and '.join(missing)}: needed for the console's login with OpenID Connect")
    cookies = environ.get(COOKIE_SECRET_FILE, "").strip()
    return OidcSettings(
        issuer=_encrypted(ISSUER, given[ISSUER]),
        client_id=given[CLIENT_ID],
        redirect_url=_redirect(given[REDIRECT_URL]),
        client_secret=_read(SECRET_FILE, Path(given[SECRET_FILE])),
        cookie_secret=_cookie_secret(Path(cookies)) if cookies else secrets.token_urlsafe(LEAST_SECRET),
        scope=environ.get(SCOPE, "").strip() or OidcSettings.scope,
    )


def check_installed() -> None:
    """Raises SystemExit if Authlib is missing, which Streamlit's login needs."""
    if find_spec("authlib") is None:
        raise SystemExit(f"{SECRET_FILE} needs the extra `oidc`: run pip install -e '.[oidc]'")


def offered() -> bool:
    """Whether this console offers the login."""
    return "is_logged_in" in st.user


def token() -> str | None:
    """Identity token of the person who logged in in this browser; None: nobody did."""
    if not (offered() and st.user.is_logged_in):
        return None
    return st.user.tokens.get("id")


def _encrypted(name: str, url: str) -> str:
    """The URL. Raises SystemExit unless it is an HTTPS URL, or one of this machine."""
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname))):
        return url
    raise SystemExit(f"{name} must be a URL that begins with https://, not {url!r}")


def _redirect(url: str) -> str:
    if urlsplit(_encrypted(REDIRECT_URL, url)).path != CALLBACK:
        raise SystemExit(f"{REDIRECT_URL} must be the console's address with the path {CALLBACK}, not {url!r}")
    return url


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _cookie_secret(path: Path) -> str:
    """Reads the secret; a missing file is created with a new one."""
    try:
        if not path.exists():
            private.write_once(path, secrets.token_urlsafe(LEAST_SECRET) + "\n")
    except OSError as error:
        raise SystemExit(f"{COOKIE_SECRET_FILE}: {path} can't be written ({error.strerror})") from None
    found = _read(COOKIE_SECRET_FILE, path)
    if len(found) < LEAST_SECRET:
        raise SystemExit(f"{COOKIE_SECRET_FILE}: {path} needs {LEAST_SECRET} characters; delete it to get a new one")
    return found


def _read(name: str, path: Path) -> str:
    try:
        if path.stat().st_mode & private.OTHERS:
            raise SystemExit(f"{name}: others can read {path}; run: chmod 600 {path}")
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{name}: {path} can't be read ({error})") from None
    if not found:
        raise SystemExit(f"{name}: {path} is empty")
    return found
