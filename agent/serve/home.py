"""The home: key, journal, logs and traces, for the user alone that the platform runs as."""

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
MADE = "made-here"
"""Holds the inode number of its home. Who packs a home into an archive or a repository can't know the number that it
gets where it is unpacked."""
_HARMLESS = frozenset({"lost+found", "bench", "training"})
"""Of a volume that nobody has used yet, of measurements and of training: the platform reads none of it."""
DATA = "data"
"""The tools' own folder. What another user has written there is left as it is."""


def open_home(home: Path, user: int | None = None) -> None:
    """Makes the home with mode 0700. One that is wider is made so, with the files in it, and the log says so.

    Args:
        user: who must own it; None: the user that this process runs as.

    Raises:
        ConfigError: it belongs to somebody else, was made elsewhere, or cannot be used.
    """
    user = os.geteuid() if user is None else user
    try:
        private.folder(home)
        owner = home.stat().st_uid
        if owner != user:
            raise ConfigError(
                f"FLIGHTLOOP_HOME: {home} belongs to the user {_name(owner)}, and this process runs as {_name(user)}:"
                f" start it as {_name(owner)}, name another folder by FLIGHTLOOP_HOME, or give this one away by"
                f" chown -R {_name(user)} {home}"
            )
        _check_made(home)
        _check_key(home / KEY)
        tightened = _tighten(home, user)
        private.folder(home / DATA)
    except OSError as error:
        raise ConfigError(f"FLIGHTLOOP_HOME: {home} cannot be used ({error.strerror})") from error
    if tightened:
        log.warning("others could read the home: it is its owner's alone now", home=str(home), changed=tightened)


def _check_made(home: Path) -> None:
    """Marks a new home.

    Raises:
        ConfigError: it came from elsewhere: somebody else may know its key, have written its journal and left links.
    """
    own = str(home.stat().st_ino)
    with suppress(FileNotFoundError), open(home / MADE, "rb", opener=private.opener) as file:
        if file.read(64).strip() == own.encode():
            return
    with os.scandir(home) as entries:
        new = all(map(_is_of_a_new_one, entries))
    if not new:
        raise ConfigError(
            f"FLIGHTLOOP_HOME: {home} was not made here. Somebody else may know the keys of a home that came with a"
            f" project or an archive: delete it, and a new one is made, or name another folder by FLIGHTLOOP_HOME. If"
            f" it is your own, moved or restored, run: stat -Lc %i {home} > {home / MADE}"
        )
    with open(home / MADE, "w", encoding="ascii", opener=private.opener) as file:
        file.write(f"{own}\n")


def _is_of_a_new_one(entry: os.DirEntry[str]) -> bool:
    if entry.name.endswith(".log"):  # whoever starts a platform may have its log written there
        return entry.is_file(follow_symlinks=False)
    return entry.name in _HARMLESS and not entry.is_symlink()


def _check_key(path: Path) -> None:
    """Raises ConfigError: taking others' permissions now makes no secret of what they may have read."""
    if path.is_file() and path.stat().st_mode & private.OTHERS:
        raise ConfigError(
            f"{path}: others can read the API key: delete it, and a new one is made; or, if you know that nobody has"
            f" read it, run: chmod 600 {path}"
        )


@contextmanager
def private_files() -> Iterator[None]:
    """Files that are made meanwhile are their owner's alone: for libraries that make them by the umask, as SQLite does
    (its ``-wal`` and ``-shm`` then take after the database). The umask is the process's: keep it short."""
    before = os.umask(private.OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def _tighten(home: Path, user: int) -> int:
    """Takes others' permissions from what the user has in the home. Returns how many entries it changed."""
    home = home.resolve()  # else a home that is a link itself would not be walked
    data = home / DATA
    changed = sum(_close(opened, user, private.OTHERS) for opened in private.walk(home, skip=data))
    with suppress(OSError):  # there is none yet, or it is a link to a folder elsewhere
        # As root, the group of tool data is that of the users that tools run as.
        changed += sum(_close(opened, user, private.OTHERS & 0o007) for opened in private.walk(data))
    return changed


def _close(file: int, user: int, others: int) -> bool:
    status = os.fstat(file)
    mode = stat.S_IMODE(status.st_mode)
    file_of_its_own = stat.S_ISREG(status.st_mode) and status.st_nlink == 1  # else it has another name elsewhere
    if status.st_uid != user or not mode & others or not (file_of_its_own or stat.S_ISDIR(status.st_mode)):
        return False
    os.fchmod(file, mode & ~others)
    return True


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
