"""Reads files of data sets, from their archives or unpacked."""

from __future__ import annotations

import tarfile
from pathlib import Path

from bench.errors import BenchError


def read_text(data: Path, archive: str, name: str) -> str:
    """A file's text.

    Args:
        data: folder with the archive, or with its unpacked content.
        name: the file's name without folders.

    Raises:
        BenchError: it can't be read.
    """
    try:
        return _content(data, archive, name).decode("utf-8")
    except (OSError, ValueError, tarfile.TarError) as error:
        raise BenchError(f"{data}: {name} of {archive} can't be read: {error}; see --data") from None


def _content(data: Path, archive: str, name: str) -> bytes:
    for path in data.rglob(name):
        return path.read_bytes()
    with tarfile.open(data / archive) as opened:
        for member in opened:
            if member.isfile() and Path(member.name).name == name:
                content = opened.extractfile(member)
                assert content is not None
                return content.read()
    raise OSError("it is not in the archive")
