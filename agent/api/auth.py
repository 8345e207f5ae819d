"""API keys: the deployment's key file, and the principal behind a bearer key."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import structlog

from agent.run.acts import DEPLOYMENT, OWN_KEY
from agent.run.journal import Idempotency
from flightloop import private
from flightloop.acts import Actor, ActorKind
from flightloop.errors import ConfigError, Unauthorized
from flightloop.keys import ApiKey, Role
from flightloop.runs import Page
from flightloop.subject import SpeaksFor, Subject

log = structlog.get_logger(__name__)
DEFAULT_TENANT = DEPLOYMENT
REVOKED_WITHIN_S = 2.0
"""Upper bound in seconds until a revoked key stops working in every process."""
FRESH_S = 1.0
"""Seconds for which a process may use a cached key."""
WATCH_S = 0.5
"""Seconds between checks of an open stream's key. Together with ``FRESH_S`` it ensures ``REVOKED_WITHIN_S``."""
SILENCE_S = 5.0
"""Seconds for which a stream continues while its key cannot be checked."""
MOST_KNOWN = 10_000
_PREFIX = "fl_"


class Persons(Protocol):
    """Persons who log in elsewhere, with tokens that they use as keys."""

    async def principal(self, token: str) -> Principal:
        """The person with a token. Raises Unauthorized, and IssuerUnavailable if it can't be verified now."""
        ...

    def deciders(self, tenant_id: str) -> list[Actor]:
        """Persons and groups of a tenant that may decide approvals."""
        ...


class KeyStore(Protocol):
    async def add(
        self,
        key: ApiKey,
        sha256: str,
        *,
        tenant_id: str | None = None,
        idempotency: Idempotency | None = None,
        actor: Actor | None = None,
    ) -> ApiKey:
        """Stores a key and returns it; a repeated idempotency key returns the first request's key.

        ``tenant_id`` is the caller's tenant, if it differs from the key's; ``actor`` is the caller. Raises
        IdempotencyMismatch, and Conflict if the key's tenant has too many keys.
        """
        ...

    async def by_digest(self, sha256: str) -> ApiKey | None: ...

    async def page(self, tenant_id: str, after: str | None, limit: int) -> Page[ApiKey]:
        """A tenant's keys, newest first, revoked ones included. Raises NotFound: the tenant has no key ``after``."""
        ...

    async def revoke(self, tenant_id: str, key_id: str, actor: Actor | None = None) -> ApiKey:
        """Revokes a key; revoking it twice is harmless. Raises NotFound."""
        ...


@dataclass(frozen=True)
class Principal:
    """The sender of a request. ``name`` is journaled (``by``) and never contains the key."""

    tenant_id: str
    name: str
    key: str
    """Id of the key or person; does not reveal the key itself."""
    role: Role = Role.ADMIN
    deployment: bool = False
    """Whether the request was sent with the deployment's own key, which can create keys for any tenant. Keys of other
    tenants can't, even if they were configured at start."""
    speaks_for: SpeaksFor = SpeaksFor.ANY
    subject: Subject | None = None
    """The only subject that the key speaks for, if it is bound to one."""
    kind: Literal[ActorKind.KEY, ActorKind.PERSON] = ActorKind.KEY

    @property
    def bound(self) -> bool:
        return self.speaks_for is SpeaksFor.ONE

    @property
    def actor(self) -> Actor:
        """The sender in audit records."""
        return Actor(kind=self.kind, id=self.key, name=self.name)

    @property
    def called(self) -> str:
        """The sender in messages."""
        return f"the key {self.name}" if self.kind is ActorKind.KEY else self.name


class Keyring:
    """Keys that a deployment accepts: those configured at start, and those in its store.

    Args:
        keys: configured keys, with the tenant of each; their holders are admins.
        store: keys created later through the API; None: no such keys.
        persons: accepts tokens of persons as keys; None: no tokens.
        watch_s: seconds between two checks of an open stream's key.

    Raises:
        ConfigError: no key, or a key that is too short or that no header can carry.
    """

    def __init__(
        self,
        keys: Mapping[str, str],
        store: KeyStore | None = None,
        persons: Persons | None = None,
        *,
        watch_s: float = WATCH_S,
    ) -> None:
        if not keys:
            raise ConfigError("FLIGHTLOOP_API_KEY: an API key is required")
        for key, tenant in keys.items():
            if len(key) < 16 or not (key.isascii() and key.isprintable()):
                setting = "FLIGHTLOOP_API_KEY" if tenant == DEFAULT_TENANT else f"FLIGHTLOOP_TENANT_KEYS: {tenant}"
                raise ConfigError(f"{setting}: a key needs at least 16 printable ASCII characters")
        self._keys = tuple(
            (key.encode(), Principal(tenant, f"key:{tenant}", OWN_KEY, deployment=tenant == DEFAULT_TENANT))
            for key, tenant in keys.items()
        )
        self._store, self._persons = store, persons
        self._watch_s = watch_s
        self._known: dict[str, tuple[float, Principal | None]] = {}

    async def principal(self, authorization: str | None) -> Principal:
        """The holder of the key in an ``Authorization`` header, compared in constant time.

        Raises:
            Unauthorized: no bearer key, or an unknown or revoked key, or a token that is not valid.
            IssuerUnavailable: a token can't be verified now.
        """
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise Unauthorized(
                "send the API key as 'Authorization: Bearer KEY' (on the server it is FLIGHTLOOP_API_KEY, or else"
                " in the file key of FLIGHTLOOP_HOME: .flightloop/key by default)"
            )
        offered = given.strip().encode()
        found: Principal | None = None
        for key, principal in self._keys:  # compares every key, so that timing reveals nothing
            if hmac.compare_digest(key, offered):
                found = principal
        # A token has two dots. No key that the platform makes has one.
        if found is None and self._persons is not None and offered.count(b".") == 2:
            return await self._persons.principal(given.strip())
        if found is None:
            found = await self._stored(digest(offered))
        if found is None:
            raise Unauthorized("unknown API key")
        return found

    def configured(self, tenant_id: str) -> list[Actor]:
        """Who may decide in the tenant with a key that was configured at start, or after a login elsewhere. The store
        does not know these."""
        holders = [principal.actor for _, principal in self._keys if principal.tenant_id == tenant_id]
        return holders + (self._persons.deciders(tenant_id) if self._persons is not None else [])

    async def revoked(self, authorization: str | None) -> None:
        """Returns once the key of an ``Authorization`` header is no longer accepted, or could not be checked for
        ``SILENCE_S``."""
        answered_at = time.monotonic()
        while time.monotonic() - answered_at < SILENCE_S:
            try:
                async with asyncio.timeout(FRESH_S):
                    await self.principal(authorization)
                answered_at = time.monotonic()
            except Unauthorized:
                return
            except Exception as error:
                log.warning("key of an open stream cannot be checked", error=str(error) or type(error).__name__)
            await asyncio.sleep(self._watch_s)

    def forget(self) -> None:
        """Clears the cache of keys, so that a key revoked in this process stops working at once."""
        self._known.clear()

    async def _stored(self, sha256: str) -> Principal | None:
        """Looks a key up by digest; results are cached for ``FRESH_S`` seconds."""
        if self._store is None:
            return None
        now = time.monotonic()
        until, principal = self._known.get(sha256, (0.0, None))
        if until <= now:
            key = await self._store.by_digest(sha256)
            if key is not None and key.revoked_at is None:
                principal = Principal(
                    key.tenant_id,
                    f"key:{key.name}",
                    key.id,
                    key.role,
                    speaks_for=key.speaks_for,
                    subject=key.subject,
                )
            else:
                principal = None
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[sha256] = now + FRESH_S, principal
        return principal


def new_key() -> str:
    """Creates a key of 256 random bits. It can't be guessed, so a fast hash without salt is enough to store it."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest(key: bytes) -> str:
    """Hash under which a key is stored."""
    return hashlib.sha256(key).hexdigest()


def key_from_file(path: Path) -> str:
    """Reads the API key from ``path``. A missing file is created with a new key, readable by its owner only.

    Raises:
        ConfigError: the file is empty, others can read it, or it cannot be written.
    """
    try:
        if not path.exists():
            private.write_once(path, new_key() + "\n")
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path}: others can read the API key; run: chmod 600 {path}")
        key = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise ConfigError(f"{path}: cannot store the API key ({error.strerror}); set FLIGHTLOOP_HOME") from error
    if not key:
        raise ConfigError(f"{path}: contains no API key; delete it to get a new one")
    return key
