"""OpenID Connect provider on a real socket, for tests: discovery, login page, tokens, keys and their rotation.

It implements the authorization code flow with PKCE and a confidential client, as far as OpenID Connect Core 1.0
and RFC 7636 demand it::

    with OidcProvider([Account("ann@example.com", groups=["approvers"])]) as provider:
        token = provider.id_token("ann@example.com")
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import html
import json
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Self
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from agent.serve.http_server import bind, running

CLIENT_ID, CLIENT_SECRET = "flightloop-console", "the-secret-of-the-console"
LIFETIME_S = 3600
ANSWER_S = 60.0


@dataclass(frozen=True)
class Account:
    """A person at the provider."""

    email: str
    groups: Sequence[str] = ()
    verified: bool = True
    """Whether the provider has verified the e-mail address."""

    @property
    def claims(self) -> dict[str, Any]:
        subject = hashlib.sha256(self.email.encode()).hexdigest()[:16]
        return {
            "sub": subject,
            "email": self.email,
            "email_verified": self.verified,
            "groups": list(self.groups),
        }


@dataclass(frozen=True)
class _Asked:
    """What a code was given for."""

    account: Account
    redirect_uri: str
    nonce: str | None
    challenge: str | None


@dataclass
class PrivateKey:
    kid: str
    key: RSAPrivateKey = field(default_factory=lambda: generate_private_key(65537, 2048), repr=False)

    @property
    def public(self) -> dict[str, Any]:
        return {**RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": self.kid, "use": "sig"}


class OidcProvider:
    """Serves while its context is open. ``asked`` counts requests by path.

    Args:
        accounts: persons that the login page offers, without passwords.
    """

    def __init__(self, accounts: Sequence[Account]) -> None:
        self.accounts = {account.email: account for account in accounts}
        self.issuer = ""
        self.key = PrivateKey("key-1")
        self.published = [self.key.public]
        """Keys in the set; tests change them."""
        self.metadata: dict[str, Any] = {}
        """Overrides of the metadata."""
        self.asked: list[str] = []
        self._codes: dict[str, _Asked] = {}
        routes = [
            Route("/.well-known/openid-configuration", self._discover),
            Route("/keys", self._list_keys),
            Route("/authorize", self._authorize, methods=["GET", "POST"]),
            Route("/token", self._token, methods=["POST"]),
        ]
        self._app = Starlette(routes=routes)

    def __enter__(self) -> Self:
        started: Future[str] = Future()
        self._thread = Thread(target=lambda: asyncio.run(self._serve(started)), name="test-oidc", daemon=True)
        self._thread.start()
        self.issuer = started.result(ANSWER_S)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(ANSWER_S)

    def rotate(self, kid: str) -> None:
        """Signs with a new key from now on, and withdraws the others."""
        self.key = PrivateKey(kid)
        self.published = [self.key.public]

    def claims(self, email: str, /, **changed: Any) -> dict[str, Any]:
        """Claims of an identity token for a person. None as a value leaves a claim out."""
        now = int(time.time())
        told = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + LIFETIME_S}
        claims = {**told, **self.accounts[email].claims, **changed}
        return {name: value for name, value in claims.items() if value is not None}

    def id_token(self, email: str, /, **changed: Any) -> str:
        payload = json.dumps(self.claims(email, **changed)).encode()  # jwt.encode would refuse some wrong claims
        return jwt.PyJWS().encode(payload, self.key.key, "RS256", headers={"kid": self.key.kid})

    async def _serve(self, started: Future[str]) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with running(self._app, bind("127.0.0.1", 0), grace_s=1) as url:
            started.set_result(url)
            await self._end.wait()

    async def _discover(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        at = self.issuer
        return JSONResponse(
            {
                "issuer": at,
                "authorization_endpoint": f"{at}/authorize",
                "token_endpoint": f"{at}/token",
                "jwks_uri": f"{at}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "code_challenge_methods_supported": ["S256"],
                **self.metadata,
            }
        )

    async def _list_keys(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        return JSONResponse({"keys": self.published})

    async def _authorize(self, request: Request) -> Response:
        """The login page, and after it the redirect back to the client."""
        asked = request.query_params
        if asked.get("client_id") != CLIENT_ID or asked.get("response_type") != "code":
            return Response("unknown client or response type", 400)
        if request.method == "GET":
            names = [html.escape(email) for email in self.accounts]
            buttons = "".join(f'<button name="email" value="{name}">{name}</button>' for name in names)
            return HTMLResponse(f'<h1>Who are you?</h1><form method="post">{buttons}</form>')
        email = str((await request.form())["email"])
        code = secrets.token_urlsafe()
        self._codes[code] = _Asked(
            self.accounts[email], asked["redirect_uri"], asked.get("nonce"), asked.get("code_challenge")
        )
        answer = urlencode({"code": code, "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{answer}", 302)

    async def _token(self, request: Request) -> Response:
        given = await request.form()
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if not hmac.compare_digest(request.headers.get("authorization", ""), f"Basic {basic}"):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self._codes.pop(str(given.get("code")), None)
        if asked is None or given.get("redirect_uri") != asked.redirect_uri or not _proves(asked, given):
            return JSONResponse({"error": "invalid_grant"}, 400)
        token = self.id_token(asked.account.email, nonce=asked.nonce)
        told = {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "expires_in": LIFETIME_S}
        return JSONResponse({**told, "id_token": token})


def _proves(asked: _Asked, given: Any) -> bool:
    """Whether the client knows the verifier of its challenge (RFC 7636, section 4.6)."""
    if asked.challenge is None:
        return True
    sent = hashlib.sha256(str(given.get("code_verifier")).encode()).digest()
    return base64.urlsafe_b64encode(sent).rstrip(b"=").decode() == asked.challenge
