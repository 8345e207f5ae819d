"""The shop's policies: Markdown files, and their paragraphs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

FOLDER = "documents"


@dataclass(frozen=True)
class Passage:
    """A paragraph. ``document`` is the title of its file, ``heading`` the nearest one above it."""

    document: str
    heading: str
    text: str

    @property
    def shown(self) -> str:
        return f"{self.heading}: {self.text}"


def documents(data: Path) -> Path:
    """The deployment's own documents, or else the embedded shop's."""
    own = data / FOLDER
    return own if own.is_dir() else Path(str(files("tools.shop").joinpath(FOLDER)))


def passages(name: str, markdown: str) -> list[Passage]:
    """A document's paragraphs, each with the heading above it; the first ``#`` line names the document.

    Args:
        name: of the file, without its ending; the title where there is no other.
    """
    title, heading, found = name.replace("_", " "), "", []
    for block in re.split(r"\n\s*\n", markdown):
        lines = block.strip().splitlines()
        while lines and lines[0].startswith("#"):
            line = lines.pop(0)
            text = line.lstrip("#").strip()
            title, heading = (text, text) if line.startswith("# ") else (title, text)
        if lines:
            found.append(Passage(title, heading or title, " ".join(line.strip() for line in lines)))
    return found
