"""API keys: the key file of a deployment, and whom a bearer key speaks for."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from agent.run.journal import Idempotency
from flightloop import private
from flightloop.errors import ConfigError, Unauthorized
from flightloop.keys import ApiKey, Role

log = structlog.get_logger(__name__)
DEFAULT_TENANT = "default"
REVOKED_WITHIN_S = 2.0
"""How long a revoked key may go on, at every process."""
FRESH_S = 1.0
"""How long a process goes by what it knows of a key."""
WATCH_S = 0.5
"""Between two looks at the key of an open stream, which with FRESH_S makes the bound."""
SILENCE_S = 5.0
"""How long a stream goes on whose key cannot be looked up."""
MOST_KNOWN = 10_000
_PREFIX = "fl_"


class KeyStore(Protocol):
    async def add(
        self, key: ApiKey, sha256: str, *, tenant_id: str | None = None, idempotency: Idempotency | None = None
    ) -> ApiKey:
        """Keeps a key, and returns it; or the one that the tenant's first request with the idempotency key made.

        ``tenant_id``: who asks for it, if that isn't the key's own tenant. Raises IdempotencyMismatch.
        """
        ...

    async def by_digest(self, sha256: str) -> ApiKey | None: ...

    async def all(self, tenant_id: str) -> list[ApiKey]:
        """Newest first, revoked ones too."""
        ...

    async def revoke(self, tenant_id: str, key_id: str) -> ApiKey:
        """Raises NotFound; revoking twice is harmless."""
        ...


@dataclass(frozen=True)
class Principal:
    """Whoever sent a request. ``name`` goes into the journal (``by``) and never holds the key."""

    tenant_id: str
    name: str
    key: str
    """Which key it was, without telling it."""
    role: Role = Role.ADMIN
    deployment: bool = False
    """Whether it is the deployment's own key, which may make keys for any tenant. Another tenant's may not, although
    the deployment was started with it too."""


class Keyring:
    """The keys that a deployment accepts: those that it was started with, and those of its store.

    Args:
        keys: key to the tenant that it speaks for; their holders are admins.
        store: of the keys that were made since; None: there are no others.
        watch_s: seconds between two looks at the key of an open stream.

    Raises:
        ConfigError: no key, or one too short to be a secret.
    """

    def __init__(self, keys: Mapping[str, str], store: KeyStore | None = None, *, watch_s: float = WATCH_S) -> None:
        if not keys:
            raise ConfigError("an API key is required")
        if any(len(key) < 16 for key in keys):
            raise ConfigError("FLIGHTLOOP_API_KEY: a key needs at least 16 characters")
        self._keys = tuple(
            (key.encode(), Principal(tenant, f"key:{tenant}", "own", deployment=tenant == DEFAULT_TENANT))
            for key, tenant in keys.items()
        )
        self._store = store
        self._watch_s = watch_s
        self._known: dict[str, tuple[float, Principal | None]] = {}

    async def principal(self, authorization: str | None) -> Principal:
        """Whose key an ``Authorization`` header carries, compared in constant time.

        Raises:
            Unauthorized: no bearer key, an unknown one, or one that was revoked.
        """
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise Unauthorized(
                "send the API key as 'Authorization: Bearer KEY' (the server keeps it in .flightloop/key)"
            )
        offered = given.strip().encode()
        found: Principal | None = None
        for key, principal in self._keys:  # every key is compared, so that time tells nothing
            if hmac.compare_digest(key, offered):
                found = principal
        if found is None:
            found = await self._stored(digest(offered))
        if found is None:
            raise Unauthorized("unknown API key")
        return found

    async def revoked(self, authorization: str | None) -> None:
        """Returns once the key of an ``Authorization`` header is not accepted any more, or could not be looked up for
        ``SILENCE_S``: what cannot be told to end must not go on."""
        heard = time.monotonic()
        while time.monotonic() - heard < SILENCE_S:
            try:
                async with asyncio.timeout(FRESH_S):
                    await self.principal(authorization)
                heard = time.monotonic()
            except Unauthorized:
                return
            except Exception as error:
                log.warning("the key of an open stream cannot be looked up", error=str(error) or type(error).__name__)
            await asyncio.sleep(self._watch_s)

    def forget(self) -> None:
        """Looks every key up anew: one of them was revoked here."""
        self._known.clear()

    async def _stored(self, sha256: str) -> Principal | None:
        """By the digest, which is looked up anew every ``FRESH_S`` seconds."""
        if self._store is None:
            return None
        now = time.monotonic()
        until, principal = self._known.get(sha256, (0.0, None))
        if until <= now:
            key = await self._store.by_digest(sha256)
            if key is not None and key.revoked_at is None:
                principal = Principal(key.tenant_id, f"key:{key.name}", key.id, key.role)
            else:
                principal = None
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[sha256] = now + FRESH_S, principal
        return principal


def new_key() -> str:
    """A key of 256 random bits. So many need no salt and no slow hash: nobody can try them out."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest(key: bytes) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key).hexdigest()


def key_from_file(path: Path) -> str:
    """The key kept in ``path``; at first start it is made there, readable by its owner alone.

    Raises:
        ConfigError: the file is empty, others can read it, or it cannot be written.
    """
    try:
        if not path.exists():
            _write_once(path, new_key())
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path}: others can read the API key; run: chmod 600 {path}")
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{path}: cannot keep the API key there ({error.strerror}); set FLIGHTLOOP_HOME") from error
    if not key:
        raise ConfigError(f"{path}: holds no API key; delete it to get a new one")
    return key


def _write_once(path: Path, key: str) -> None:
    """Whole or not at all, and the first of two processes wins: the file is linked, not opened, into place."""
    private.folder(path.parent)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".key-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(key + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        os.unlink(draft)
