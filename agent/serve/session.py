"""The folder, the token and the certificates of Ray's session, kept from the other users of the machine.

Ray lets everybody write the folders that it makes, and follows links in them. It keeps one token for all clusters in
the user's home, in a file that everybody may read where that is open. Whoever has the token runs code as this user.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.serve.certificates import make_certificates
from flightloop.errors import ConfigError

FOLDER, TOKEN = "RAY_TMPDIR", "RAY_AUTH_TOKEN"
TOKENS = (TOKEN, "RAY_AUTH_TOKEN_PATH")
CERTIFICATES = ("RAY_USE_TLS", "RAY_TLS_CA_CERT", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY")
PREFIX = "r"
"""Short: the names of Ray's sockets have 107 bytes with all folders above them."""


@contextmanager
def private_session() -> Iterator[None]:
    """Ray starts, in this context, in a folder that only this user enters, which is removed afterwards.

    Raises:
        ConfigError: others could put another folder in its place.
    """
    before = dict(os.environ)
    folder = make_private()
    try:
        yield
    finally:
        for name in (FOLDER, TOKEN, *CERTIFICATES):  # the next cluster has others
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
        shutil.rmtree(folder, ignore_errors=True)


def make_private() -> Path:
    """Makes the folder, a token and certificates for clusters that this process starts from now on; call it before Ray
    starts, since its processes inherit the environment. A token and certificates that are set are kept.

    Raises:
        ConfigError: see ``private_session``.
    """
    above = os.path.abspath(os.environ.get(FOLDER) or tempfile.gettempdir())
    _check(Path(above))
    os.environ[FOLDER] = folder = tempfile.mkdtemp(prefix=PREFIX, dir=above)
    if not any(os.environ.get(name) for name in TOKENS):
        os.environ[TOKEN] = secrets.token_hex(32)
    if not any(name in os.environ for name in CERTIFICATES):
        os.environ.update(make_certificates(Path(folder)))
    return Path(folder)


def _check(above: Path) -> None:
    try:
        mode = above.stat().st_mode
    except OSError as error:
        raise ConfigError(f"{FOLDER}: {above} can't be used: {error.strerror}") from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        raise ConfigError(
            f"{FOLDER}: others may write {above}, and could put a folder of theirs in the place of Ray's; "
            f"name another one, or run: chmod go-w {above}"
        )
