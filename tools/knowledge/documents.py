"""Reads documents: Markdown files, split into paragraphs."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from tools.sandbox.opening import without_links

FOLDER = "documents"
MOST_DOCUMENTS, MOST_BYTES, MOST_TOGETHER = 1000, 256 * 1024, 1024 * 1024
"""Limits of a folder: documents, bytes per document, and bytes of all. The rest is not read."""
NAME_CHARS = 200
LONGEST_PASSAGE = 2000
"""Maximum length of a passage in characters; longer paragraphs are cut."""


@dataclass(frozen=True)
class Passage:
    """A paragraph. ``document``: the file's title; ``heading``: the nearest one above."""

    document: str
    heading: str
    text: str

    @property
    def shown(self) -> str:
        return f"{self.heading}: {self.text}"


def documents(data: Path, project: Path | None) -> Path:
    """Folder of the deployment's own documents, or else of the project's."""
    folders = [parent / FOLDER for parent in (data, project) if parent is not None]
    return next((folder for folder in folders if folder.is_dir() and not folder.is_symlink()), folders[0])


def read_document(path: Path, most: int = MOST_BYTES) -> str:
    """Text of a file in `documents`, up to ``most`` bytes, without following symbolic links.

    Raises:
        OSError: the file can't be read, or is no longer a regular file.
    """
    base = path.parent.parent
    folder = os.open(base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        opened = without_links(path.relative_to(base), os.O_RDONLY | os.O_NONBLOCK, folder)
    finally:
        os.close(folder)
    with open(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(errno.EINVAL, "not a file", str(path))
        return file.read(min(most, MOST_BYTES)).decode("utf-8", "replace")


def translation_of(name: str) -> tuple[str, str]:
    """Splits the name of a document in another language: ``returns.zh`` is ``returns`` in ``zh``. Of other names, the
    second part is empty."""
    document, _, language = name.rpartition(".")
    return (document, language) if document and re.fullmatch(r"[a-z]{2,3}", language) else (name, "")


def passages(name: str, markdown: str) -> list[Passage]:
    """A document's paragraphs, each with the heading above it. The first ``#`` line is the document's title.

    Args:
        name: the file's name without suffix; the title if there is no other.
    """
    title, heading, found = name.replace("_", " "), "", []
    for block in re.split(r"\n\s*\n", markdown):
        lines = block.strip().splitlines()
        while lines and lines[0].startswith("#"):
            line = lines.pop(0)
            text = line.lstrip("#").strip()
            title, heading = (text, text) if line.startswith("# ") else (title, text)
        if lines:
            text = " ".join(line.strip() for line in lines)[:LONGEST_PASSAGE]
            found.append(Passage(title[:NAME_CHARS], (heading or title)[:NAME_CHARS], text))
    return found
