"""Reads files of data sets, from their archives or unpacked."""

from __future__ import annotations

import tarfile
from pathlib import Path

from bench.errors import BenchError


def read_bytes(data: Path, archive: str, name: str) -> bytes:
    """A file's content.

    Args:
        data: folder with the archive, or with its unpacked content.
        archive: the archive's file name.
        name: the file's name without folders.

    Raises:
        OSError: it can't be read, or the archive can't.
    """
    for path in data.rglob(name):
        return path.read_bytes()
    try:
        with tarfile.open(data / archive) as opened:
            for member in opened:
                if member.isfile() and Path(member.name).name == name:
                    content = opened.extractfile(member)
                    assert content is not None
                    return content.read()
    except tarfile.TarError as error:
        raise OSError(f"{archive}: {error}") from None
    raise OSError(f"{archive} has no {name}")


def read_text(data: Path, archive: str, name: str) -> str:
    """A file's text, in UTF-8. Arguments as of `read_bytes`. Raises BenchError: it can't be read."""
    try:
        return read_bytes(data, archive, name).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{data}: {name} of {archive} can't be read: {error}; see --data") from None
