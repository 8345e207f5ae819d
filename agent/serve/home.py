"""The home folder: key, journal, logs and traces, private to the user that runs the platform."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from flightloop import private
from flightloop.errors import ConfigError

log = structlog.get_logger(__name__)
KEY = "key"
AUDIT_KEY = "audit-key"
MADE = "made-here"
"""Marker file with the home's inode number. The author of an archive or repository can't predict the number that its
folder gets when it is unpacked."""
_HARMLESS = frozenset({"lost+found", "bench", "training"})
"""Entries of a new volume, of benchmarks and of training, which the platform does not read."""
DATA = "data"
"""Folder of the tools' data. Files of other users in it are left unchanged."""


def open_home(home: Path, user: int | None = None) -> None:
    """Creates the home with mode 0700. In an existing one, removes permissions of other users, with a warning.

    Args:
        user: required owner; None: the user of this process.

    Raises:
        ConfigError: the home belongs to another user, was created elsewhere, or cannot be used.
    """
    user = os.geteuid() if user is None else user
    try:
        private.folder(home)
        owner = home.stat().st_uid
        if owner != user:
            raise ConfigError(
                f"FLIGHTLOOP_HOME: {home} belongs to user {_name(owner)}, but this process runs as {_name(user)}:"
                f" start it as {_name(owner)}, set FLIGHTLOOP_HOME to another folder, or change the owner with"
                f" chown -R {_name(user)} {home}"
            )
        _check_made(home)
        _check_key(home / KEY)
        _check_audit_key(home / AUDIT_KEY)
        tightened = _tighten(home, user)
        private.folder(home / DATA)
    except OSError as error:
        raise ConfigError(f"FLIGHTLOOP_HOME: {home} cannot be used ({error.strerror})") from error
    if tightened:
        log.warning("others could read the home; their permissions were removed", home=str(home), changed=tightened)


def _check_made(home: Path) -> None:
    """Checks the marker file, and creates it in a new home.

    Raises:
        ConfigError: the home was created elsewhere: others may know its key, or have put a journal or links into it.
    """
    own = str(home.stat().st_ino)
    with suppress(FileNotFoundError), open(home / MADE, "rb", opener=private.opener) as file:
        if file.read(64).strip() == own.encode():
            return
    with os.scandir(home) as entries:
        new = all(map(_is_of_a_new_one, entries))
    if not new:
        raise ConfigError(
            f"FLIGHTLOOP_HOME: {home} was not created here. Others may know the keys of a home that came with a"
            f" project or an archive: delete it to get a new one, or set FLIGHTLOOP_HOME to another folder. If"
            f" it is your own, moved or restored, run: stat -Lc %i {home} > {home / MADE}"
        )
    with open(home / MADE, "w", encoding="ascii", opener=private.opener) as file:
        file.write(f"{own}\n")


def _is_of_a_new_one(entry: os.DirEntry[str]) -> bool:
    if entry.name.endswith(".log"):  # the platform's output may be redirected there
        return entry.is_file(follow_symlinks=False)
    return entry.name in _HARMLESS and not entry.is_symlink()


def _check_key(path: Path) -> None:
    """Raises ConfigError if others can read the key: removing permissions now does not make it secret again."""
    if path.is_file() and path.stat().st_mode & private.OTHERS:
        raise ConfigError(
            f"{path}: others can read the API key: delete it to get a new one or, if you know that nobody has"
            f" read it, run: chmod 600 {path}"
        )


def _check_audit_key(path: Path) -> None:
    """Raises ConfigError if others can read the keys of the audit log, for the same reason."""
    if path.is_file() and path.stat().st_mode & private.OTHERS:
        raise ConfigError(
            f"{path}: others can read the audit keys: run chmod 600 {path} and, unless you know that nobody has read"
            " them, python -m agent audit new-key"
        )


@contextmanager
def private_files() -> Iterator[None]:
    """Makes files created in this context private, for libraries that use the umask, such as SQLite (its ``-wal`` and
    ``-shm`` files copy the database's mode). The umask is process-wide: keep the context short."""
    before = os.umask(private.OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def _tighten(home: Path, user: int) -> int:
    """Removes others' permissions from the user's files in the home. Returns the number of changed entries."""
    home = home.resolve()  # a home that is itself a link would not be walked
    data = home / DATA
    changed = sum(_close(opened, user, private.OTHERS) for opened in private.walk(home, skip=data))
    with suppress(OSError):  # it does not exist yet, or is a link to a folder elsewhere
        # When running as root, tools run as other users, which reach their data through its group.
        changed += sum(_close(opened, user, private.OTHERS & 0o007) for opened in private.walk(data))
    return changed


def _close(file: int, user: int, others: int) -> bool:
    status = os.fstat(file)
    mode = stat.S_IMODE(status.st_mode)
    file_of_its_own = stat.S_ISREG(status.st_mode) and status.st_nlink == 1  # a hard link may have a name elsewhere
    if status.st_uid != user or not mode & others or not (file_of_its_own or stat.S_ISDIR(status.st_mode)):
        return False
    os.fchmod(file, mode & ~others)
    return True


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
