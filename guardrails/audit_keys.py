"""Keys that seal audit records and checkpoints. They are kept outside of the database."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from flightloop import private
from flightloop.errors import ConfigError

BYTES = 32
"""Random bytes of a new key, as many as HMAC-SHA256 puts out."""
ID_DIGITS = 16
_SECRET = re.compile(r"[0-9a-f]{64,128}")


@dataclass(frozen=True)
class AuditKey:
    """A key for HMAC-SHA256 (RFC 2104)."""

    secret: bytes = field(repr=False)

    @classmethod
    def new(cls) -> AuditKey:
        return cls(secrets.token_bytes(BYTES))

    @property
    def id(self) -> str:
        """Tells keys apart and reveals nothing about the key."""
        return self.mac("audit key id", "")[:ID_DIGITS]

    def mac(self, purpose: str, text: str) -> str:
        """HMAC-SHA256 in hex. ``purpose`` separates the uses of a key."""
        return hmac.new(self.secret, f"flightloop {purpose}\n{text}".encode(), hashlib.sha256).hexdigest()

    def signed(self, mac: str | None, purpose: str, text: str) -> bool:
        """Whether ``mac`` is this key's MAC of the text."""
        return mac is not None and hmac.compare_digest(mac.encode(), self.mac(purpose, text).encode())


class AuditKeys(Protocol):
    """The keys of a deployment."""

    def ring(self) -> Sequence[AuditKey]:
        """All keys, oldest first. The last one seals; the others only verify."""
        ...


@dataclass(frozen=True)
class FixedKeys:
    """Keys that don't change while the process runs."""

    keys: tuple[AuditKey, ...] = ()

    def ring(self) -> Sequence[AuditKey]:
        return self.keys


NO_KEYS = FixedKeys()
"""Records get digests only. For journals that nobody relies on, such as those of evaluations."""


class KeyFile:
    """Keys in a file, one a line in hex, oldest first. A changed file is read again, so that a new key takes effect in
    all processes. While the file can't be used, the earlier keys stay in use: acts must be recorded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] = ()
        self._keys: tuple[AuditKey, ...] = ()

    def ring(self) -> Sequence[AuditKey]:
        """The keys; none if there is no file.

        Raises:
            ConfigError: the file can't be used or others can read it, and no keys were read before.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return self._keys
        except OSError as error:
            if self._keys:
                return self._keys
            raise ConfigError(f"{self.path}: the audit keys cannot be read: {error}") from error
        seen = found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
        if seen != self._seen:
            try:
                if found.st_mode & private.OTHERS:
                    raise ConfigError(f"{self.path}: others can read the audit keys; run: chmod 600 {self.path}")
                self._keys, self._seen = keys_of(self._read(), str(self.path)), seen
            except ConfigError:
                if not self._keys:
                    raise
        return self._keys

    def create(self) -> None:
        """Writes a first key if there is no file."""
        if not self.path.exists():
            self._write(private.write_once, [AuditKey.new()])

    def add(self, key: AuditKey) -> None:
        """Adds a key, which seals from now on."""
        self._write(private.replace, [*self.ring(), key])

    def _read(self) -> str:
        try:
            return self.path.read_text(encoding="ascii")
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"{self.path}: the audit keys cannot be read: {error}") from error

    def _write(self, write: Callable[[Path, str], None], keys: Iterable[AuditKey]) -> None:
        try:
            write(self.path, "".join(f"{key.secret.hex()}\n" for key in keys))
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot store the audit keys ({error.strerror})") from error


def keys_of(text: str, source: str) -> tuple[AuditKey, ...]:
    """Keys in a text, in hex, separated by commas or white space. Raises ConfigError without showing the text."""
    found = re.split(r"[\s,]+", text.strip())
    if bad := [place for place, one in enumerate(found, start=1) if not _SECRET.fullmatch(one) or len(one) % 2]:
        raise ConfigError(
            f"{source}: key {bad[0]} is not valid: a key has 64 to 128 hexadecimal digits (openssl rand -hex 32)"
        )
    return tuple(AuditKey(bytes.fromhex(one)) for one in found)
