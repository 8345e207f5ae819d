"""Storage of the experts in use and of replaced ones, and the log of promotions.

The folder of ``experts.safetensors`` also has ``experts.promotions.jsonl`` and ``experts.replaced/DIGEST.safetensors``.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from flightloop import private
from flightloop.errors import ConfigError

DIGITS = 12
"""Digits of a digest in messages."""


@dataclass(frozen=True)
class Entry:
    """A line of the log.

    Attributes:
        when: time, ISO 8601, UTC.
        what: the action.
        digest: SHA-256 of the file in use from now on; None: the shipped experts.
        replaced: SHA-256 of the file that was in use before.
        source: path that the file came from.
        by: OS user that ran the command.
        reason: reason for the action.
        figures: measured figures.
    """

    when: str
    what: Literal["promoted", "undone"]
    digest: str | None
    replaced: str | None
    source: str | None
    by: str
    reason: str
    figures: Sequence[Mapping[str, Any]] = field(default_factory=list)


class PromotedExperts:
    """Storage of the experts in use.

    Args:
        used: file of the experts in use.
        clock: returns the time for the log.
    """

    def __init__(self, used: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.used = used
        self._clock = clock
        self._log = used.with_suffix(".promotions.jsonl")
        self._replaced = used.with_suffix(".replaced")

    def log(self) -> list[Entry]:
        """All entries, oldest first.

        Raises:
            ConfigError: the log is broken.
        """
        if not self._log.exists():
            return []
        try:
            return [Entry(**json.loads(line)) for line in self._log.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"cannot read the log {self._log}: {error}; repair it, or move it away") from error

    def promote(self, experts: Path, digest: str, reason: str, figures: Sequence[Mapping[str, Any]] = ()) -> Entry:
        """Puts a file in use and archives the previous one.

        Args:
            experts: the file.
            digest: SHA-256 of the file when it was measured.
            reason: reason for the promotion, for the log.
            figures: measured figures, for the log.

        Raises:
            ConfigError: the file has changed since it was measured, or is in use already.
        """
        before = digest_of(self.used)
        if before == digest:
            raise ConfigError(f"{experts} is in use already")
        entry = Entry(self._now(), "promoted", digest, before, str(experts), _user(), reason, list(figures))
        return self._put(experts, digest, entry)

    def undo(self, reason: str) -> Entry:
        """Restores the experts that the last promotion replaced. Another call undoes the promotion before that one.

        Raises:
            ConfigError: nothing is left to undo, the file in use isn't the one promoted last, or the replaced file is
                missing or changed.
        """
        standing: list[Entry] = []
        for entry in self.log():
            standing = [*standing, entry] if entry.what == "promoted" else standing[:-1]
        if not standing:
            raise ConfigError(f"{self._log} has no promotion to undo")
        last = standing[-1]
        if digest_of(self.used) != last.digest:
            raise ConfigError(f"{self.used} is not the file promoted last ({_short(last.digest)}); move it away first")
        source = self._archived(last.replaced) if last.replaced else None
        entry = Entry(
            self._now(), "undone", last.replaced, last.digest, str(source) if source else None, _user(), reason
        )
        return self._put(source, last.replaced, entry)

    def _put(self, source: Path | None, digest: str | None, entry: Entry) -> Entry:
        """Copies the file, writes the log, then replaces the file in use: the log must cover every file put in use."""
        private.folder(self.used.parent)
        written = self.used.with_suffix(".writing")
        if source is not None:
            _copy(source, written)
            if digest_of(written) != digest:
                written.unlink()
                raise ConfigError(f"{source} is not the file that was measured ({_short(digest)}); measure it again")
        if entry.replaced:
            self._archive(entry.replaced)
        with open(self._log, "a", encoding="utf-8", opener=private.opener) as file:
            file.write(json.dumps(asdict(entry)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if source is None:
            self.used.unlink()
        else:
            written.replace(self.used)
        return entry

    def _archive(self, digest: str) -> None:
        archived = self._archived(digest)
        if digest_of(archived) != digest:
            private.folder(archived.parent)
            written = archived.with_suffix(".writing")
            _copy(self.used, written)
            written.replace(archived)

    def _archived(self, digest: str) -> Path:
        return self._replaced / f"{digest}.safetensors"

    def _now(self) -> str:
        return self._clock().isoformat(timespec="seconds")


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file, in hexadecimal digits; None if it doesn't exist.

    Raises:
        ConfigError: the file can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def _short(digest: str | None) -> str:
    return digest[:DIGITS] if digest else "none"


def _copy(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as given, open(target, "wb", opener=private.opener) as written:
            shutil.copyfileobj(given, written)
    except OSError as error:
        raise ConfigError(f"cannot copy {source} to {target}: {error.strerror}") from error
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have no name
        return str(os.getuid())
