"""API keys: the key file of a deployment, and which tenant a bearer key speaks for."""

from __future__ import annotations

import hmac
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flightloop.errors import ConfigError, Unauthorized

DEFAULT_TENANT = "default"
_PREFIX = "fl_"


@dataclass(frozen=True)
class Principal:
    """Whoever sent a request. ``name`` goes into the journal (``by``) and never holds the key."""

    tenant_id: str
    name: str


class Keyring:
    """The keys that a deployment accepts; immutable.

    Args:
        keys: key to the tenant that it speaks for.

    Raises:
        ConfigError: no key, or one too short to be a secret.
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        if not keys:
            raise ConfigError("an API key is required")
        if any(len(key) < 16 for key in keys):
            raise ConfigError("FLIGHTLOOP_API_KEY: a key needs at least 16 characters")
        self._keys = tuple((key.encode(), Principal(tenant, f"key:{tenant}")) for key, tenant in keys.items())

    def principal(self, authorization: str | None) -> Principal:
        """Whose key an ``Authorization`` header carries, compared in constant time.

        Raises:
            Unauthorized: no bearer key, or an unknown one.
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
            raise Unauthorized("unknown API key")
        return found


def key_from_file(path: Path) -> str:
    """The key kept in ``path``; at first start it is made there, readable by its owner alone.

    Raises:
        ConfigError: the file is empty, others can read it, or it cannot be written.
    """
    try:
        if not path.exists():
            _write_once(path, _PREFIX + secrets.token_urlsafe(32))
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
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
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
