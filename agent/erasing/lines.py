"""Removes lines from files: in place where another process may be writing, otherwise by writing the file anew."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

GONE = b'{"erased": true}'
"""Stands in the place of a line, padded to its length: whoever appends to the file is not disturbed."""
Wanted = Callable[[bytes], bool]


def overwrite(path: Path, wanted: Wanted, dry_run: bool = False) -> int:
    """Overwrites the lines that are wanted, in place. An incomplete last line is left. Returns how many there are.

    Raises:
        OSError: the file can't be read or written.
    """
    found = 0
    with _opened(path, os.O_RDONLY if dry_run else os.O_RDWR) as file:
        at = 0
        for line in file:
            if line.endswith(b"\n") and not line.startswith(GONE) and wanted(line):
                found += 1
                if not dry_run:
                    os.pwrite(file.fileno(), _blank(len(line)), at)
            at += len(line)
        if found and not dry_run:
            os.fsync(file.fileno())
    return found


def rewrite(path: Path, wanted: Wanted, dry_run: bool = False) -> int:
    """Writes a file anew without the lines that are wanted, atomically. Returns how many there were.

    Raises:
        OSError: the file can't be read or written.
    """
    with _opened(path, os.O_RDONLY) as file:
        found = sum(map(wanted, file))
        if not found or dry_run:
            return found
        file.seek(0)
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
            try:
                os.fchmod(new.fileno(), mode)
                new.writelines(line for line in file if not wanted(line))
                new.flush()
                os.fsync(new.fileno())
                os.replace(new.name, path)
            except BaseException:
                os.unlink(new.name)
                raise
    return found


def _blank(length: int) -> bytes:
    return GONE.ljust(length - 1)[: length - 1] + b"\n"


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[BinaryIO]:
    with open(os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC), "rb" if flags == os.O_RDONLY else "r+b") as file:
        yield file
