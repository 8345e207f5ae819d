"""The folder, the token and the certificates of Ray's session, kept from the other users of the machine.

Ray lets everybody write the folders that it makes, and follows links in them. It keeps one token for all clusters in
the user's home, in a file that everybody may read where that is open. Whoever has the token runs code as this user.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.serve.certificates import make_certificates
from flightloop.errors import ConfigError

FOLDER, TOKEN = "RAY_TMPDIR", "RAY_AUTH_TOKEN"
TOKENS = (TOKEN, "RAY_AUTH_TOKEN_PATH")
MODE = "RAY_AUTH_MODE"
CERTIFICATES = ("RAY_USE_TLS", "RAY_TLS_CA_CERT", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY")
PREFIX = "r"
"""Short: the names of Ray's sockets have 107 bytes with all folders above them."""


@contextmanager
def private_session() -> Iterator[None]:
    """Ray starts, in this context, in a folder that only this user enters, which is removed afterwards.

    Raises:
        ConfigError: others could put another folder in its place.
    """
    before = os.environ.get(FOLDER)
    folder = make_private()
    try:
        yield
    finally:
        if before is None:
            del os.environ[FOLDER]
        else:
            os.environ[FOLDER] = before
        shutil.rmtree(folder, ignore_errors=True)


def make_private() -> Path:
    """Makes the folder for clusters that this process starts from now on, and, once, a token and certificates, both of
    which Ray reads once a process. Call it before Ray starts, since its processes inherit the environment. What is set
    is kept.

    Raises:
        ConfigError: see ``private_session``.
    """
    above = os.path.abspath(os.environ.get(FOLDER) or tempfile.gettempdir())
    _check(Path(above))
    os.environ[FOLDER] = folder = tempfile.mkdtemp(prefix=PREFIX, dir=above)
    if not any(os.environ.get(name) for name in TOKENS):
        os.environ[TOKEN] = secrets.token_hex(32)
    certify()
    return Path(folder)


def certify() -> Path | None:
    """Makes certificates for the clusters of this process, unless some are set. Ray reads the variables once a process,
    where a mode of authentication is set already when it is imported: call it before that.

    Returns:
        Their folder; None: there are some, or Ray may not see them any more.
    """
    if any(name in os.environ for name in CERTIFICATES) or ("ray" in sys.modules and MODE in os.environ):
        return None
    folder = Path(tempfile.mkdtemp(prefix="flightloop-ray-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(make_certificates(folder))
    return folder


@contextmanager
def certified() -> Iterator[None]:
    """``certify`` for a process that ends, or is executed anew, without what is to be done at its exit."""
    folder = certify()
    try:
        yield
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


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
