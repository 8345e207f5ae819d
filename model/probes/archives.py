"""Reads members of the public sets' archives."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Callable
from pathlib import Path


def members(data: Path, archive: str, wanted: Callable[[str], object]) -> dict[str, str]:
    """Texts of an archive's wanted files by name. Raises OSError: it can't be read, or has none of them."""
    try:
        with tarfile.open(data / f"{archive}.tar.xz") as opened:
            found = {
                member.name: content.read().decode("utf-8")
                for member in opened
                if member.isfile() and wanted(member.name) and (content := opened.extractfile(member))
            }
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise OSError(f"{data / archive}.tar.xz: {error}") from None
    if not found:
        raise OSError(f"{data / archive}.tar.xz lacks a file that the probes read")
    return found


def text_of(data: Path, archive: str, name: str) -> str:
    """The text of the file whose name ends so."""
    return next(iter(members(data, archive, lambda member: member.endswith(name)).values()))


def lines_of(data: Path, archive: str, name: str) -> list[str]:
    """Lines of the file whose name ends so."""
    return text_of(data, archive, name).splitlines()


def rows_of(data: Path, archive: str, name: str, *, tabs: bool = False) -> list[dict[str, str]]:
    """Rows of a file with a header: separated by commas, or by tabs and without quotation."""
    opened = io.StringIO(text_of(data, archive, name), newline="")
    return list(csv.DictReader(opened, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.DictReader(opened))
