"""Logs visitors in with an API key, through the login link, or with OpenID Connect."""

from __future__ import annotations

import math
import time

import streamlit as st
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from dashboards import connection, link, oidc
from flightloop.errors import FlightloopError, Overloaded, Unauthorized

WRONG: RateLimitItem = RateLimitItemPerMinute(20)
"""Limit of wrong keys and links per minute, for all visitors together: users of one computer share an IP address."""


@st.cache_resource(show_spinner=False)
def _limiter() -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(MemoryStorage())


def with_key(api_key: str) -> None:
    """Logs this browser session in with a key.

    Raises:
        Overloaded: too many wrong keys and links in the last minute; the key was not tried.
        FlightloopError: the platform rejects the key, or the request failed.
    """
    _admit()
    try:
        connection.connect(api_key.strip())
    except Unauthorized:
        _limiter().hit(WRONG)
        raise


def with_link() -> FlightloopError | None:
    """Logs this browser session in if the URL has a token, and removes the token from the URL.

    Returns:
        Why the link is not valid; None on success or without a token.
    """
    token = st.query_params.get(link.PARAMETER)
    if token is None:
        return None
    del st.query_params[link.PARAMETER]
    try:
        _admit()
        connection.connect(link.exchange(token))
    except Unauthorized as error:
        _limiter().hit(WRONG)
        return error
    except FlightloopError as error:
        return error
    return None


def with_oidc() -> FlightloopError | None:
    """Logs this browser session in as the person who logged in with OpenID Connect in this browser, if anybody did.

    Attempts are not limited: the token is the issuer's, and nobody can guess one.

    Returns:
        Why the platform refuses the person; None on success or if nobody logged in.
    """
    token = oidc.token()
    if token is None:
        return None
    try:
        connection.connect(token)
    except FlightloopError as error:
        return error
    return None


def log_out() -> None:
    """Logs out of the platform and, if a person logged in with OpenID Connect, at the issuer."""
    connection.disconnect()
    if oidc.token() is not None:
        st.logout()


def _admit() -> None:
    if not _limiter().test(WRONG):
        left = max(1, math.ceil(_limiter().get_window_stats(WRONG).reset_time - time.time()))
        raise Overloaded(f"too many wrong keys and links: try again in {left} s", retry_after=left)
