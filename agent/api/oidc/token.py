"""Verifies identity tokens (OpenID Connect Core 1.0, section 3.1.3.7)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt

from agent.api.oidc.issuer import Issuer
from agent.api.oidc.signing_key import ALGORITHMS
from flightloop.errors import Unauthorized

LONGEST = 16_384
"""Characters of a token; more than a browser's cookies hold."""
SKEW_S = 10
"""Seconds by which the clocks of issuer and platform may differ."""
REQUIRED = ["iss", "sub", "aud", "exp", "iat"]
AGAIN = "log in again to get a new one"
BROKEN = (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError)
"""Raised for malformed tokens; the last two for numbers and nesting that no issuer writes."""


class TokenVerifier:
    """Accepts tokens of one issuer for one client.

    Args:
        client_id: the only audience that a token may have.
        max_age_s: seconds after its issue for which a token is accepted, even if it expires later.
        clock: seconds since 1970.
    """

    def __init__(
        self, issuer: Issuer, client_id: str, max_age_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self.issuer = issuer
        self._client_id, self._max_age_s, self._clock = client_id, max_age_s, clock

    async def claims(self, token: str) -> dict[str, Any]:
        """The claims of a valid token.

        Raises:
            Unauthorized: it is not valid here and now; the message says why.
            IssuerUnavailable: the issuer's keys can't be read.
        """
        algorithm, kid = _header(token)
        key = await self.issuer.key(kid, algorithm)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public,
                algorithms=[algorithm],
                issuer=self.issuer.url,
                audience=self._client_id,
                # Times are checked below: PyJWT would take them from the machine's clock.
                options={"require": REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            self._check_times(claims)
        except jwt.InvalidAudienceError:
            raise Unauthorized("the token is for another application") from None
        except jwt.InvalidIssuerError:
            raise Unauthorized("the token comes from another issuer") from None
        except BROKEN as error:
            raise Unauthorized(f"the token is not valid: {str(error)[:200]}") from None
        self._check_use(claims)
        return claims

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self._clock()
        expires, issued, begins = (_number(claims, name) for name in ("exp", "iat", "nbf"))
        if expires is None or issued is None:
            raise ValueError("'exp' and 'iat' must be numbers")
        if now >= expires + SKEW_S:
            raise Unauthorized(f"the token has expired: {AGAIN}")
        if now >= issued + self._max_age_s:
            raise Unauthorized(f"the token was issued {int(now - issued)} s ago, longer than is accepted: {AGAIN}")
        if max(issued, begins or 0.0) > now + SKEW_S:
            raise Unauthorized("the token is not valid yet: compare the clocks of the issuer and of this server")

    def _check_use(self, claims: dict[str, Any]) -> None:
        """Raises Unauthorized unless it is an identity token for this client alone."""
        if claims["aud"] not in (self._client_id, [self._client_id]):
            raise Unauthorized("the token is also for other applications, which could act as its person here")
        if claims.get("azp", self._client_id) != self._client_id:
            raise Unauthorized("the token was issued to another application")
        if "events" in claims:  # a logout token (OpenID Connect Back-Channel Logout 1.0) says who logged out
            raise Unauthorized("the token is not an identity token")


def _header(token: str) -> tuple[str, str | None]:
    """Algorithm and key id. Raises Unauthorized."""
    if len(token) > LONGEST:
        raise Unauthorized(f"the token is longer than {LONGEST} characters")
    try:
        header = jwt.get_unverified_header(token)
    except BROKEN:
        raise Unauthorized("the token can't be read") from None
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Unauthorized(f"the token's algorithm is not accepted: use one of {', '.join(ALGORITHMS)}")
    if str(kind).upper() != "JWT":
        raise Unauthorized("the token is not an identity token")
    if "crit" in header or not isinstance(kid, str | None):
        raise Unauthorized("the token's header is not understood")
    return algorithm, kid


def _number(claims: dict[str, Any], name: str) -> float | None:
    """A time in seconds since 1970; None without it. Raises ValueError if it is something else."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise ValueError(f"'{name}' must be a time in seconds")
    return float(value)
