"""Protects the folder, token and certificates of Ray's session from other users of the machine.

Ray creates world-writable folders and follows links in them. It stores one token for all clusters in the user's home,
in a file that may be world-readable. Anyone with the token can run code as this user.
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
"""Short, because paths of Ray's sockets are limited to 107 bytes."""


@contextmanager
def private_session() -> Iterator[None]:
    """Ray sessions started in this context use a private folder, which is removed at the end.

    Raises:
        ConfigError: other users could replace the folder.
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
    """Creates a private folder for clusters that this process starts and, once, a token and certificates, which Ray
    reads only once per process. Call it before Ray starts, because Ray's processes inherit the environment. Existing
    environment variables are not replaced.

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
    """Creates certificates for the clusters of this process, unless some are configured. Call it before ray is
    imported: with an authentication mode set, Ray reads the variables at import and only once.

    Returns:
        Folder of the certificates; None if some are configured already or Ray would not read them.
    """
    if any(name in os.environ for name in CERTIFICATES) or ("ray" in sys.modules and MODE in os.environ):
        return None
    folder = Path(tempfile.mkdtemp(prefix="flightloop-ray-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(make_certificates(folder))
    return folder


@contextmanager
def certified() -> Iterator[None]:
    """``certify`` for a process that ends or is re-executed without running exit handlers."""
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
            f"{FOLDER}: others can write to {above} and could replace Ray's folder; "
            f"choose another one, or run: chmod go-w {above}"
        )
