"""Knowledge from a data folder, rebuilt when its files change."""

from __future__ import annotations

import logging
import sqlite3
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from threading import Lock

from flightloop.tool import NO_DATA, ProjectData
from tools.knowledge.builder import build, repriced
from tools.knowledge.catalogue import Catalogue, read_catalogue
from tools.knowledge.documents import (
    MOST_DOCUMENTS,
    MOST_TOGETHER,
    Passage,
    documents,
    passages,
    read_document,
    translation_of,
)
from tools.knowledge.graph import KnowledgeGraph
from tools.knowledge.index import PassageIndex, Translations
from tools.knowledge.names import Names
from tools.knowledge.search import Found, Search
from tools.knowledge.statements import Reader, Statement

log = logging.getLogger(__name__)
MOST_NAMES = 10_000
"""Maximum number of file names to sort; the first `MOST_DOCUMENTS` of them are read."""

Stamps = dict[Path, tuple[int, int]]
"""By file: time of change in nanoseconds, size in bytes."""


@dataclass(frozen=True, eq=False)
class Papers:
    """Passages of the documents, and their indexes, built on first use.

    Attributes:
        translations: by language, passages that say the same; those that nobody translated are the originals.
    """

    passages: Sequence[Passage]
    translations: Mapping[str, Sequence[Passage]] = field(default_factory=dict)

    @cached_property
    def index(self) -> Translations:
        return Translations(*map(PassageIndex, (self.passages, *self.translations.values())))


@dataclass(frozen=True, eq=False)
class Knowledge:
    """A snapshot of the knowledge. Its parts are built on first use.

    Attributes:
        like: an earlier snapshot whose products have other prices and stocks, and which is otherwise the same. Parts
            that don't depend on these are taken from it, as building them costs ten times more than the rest.
    """

    catalogue: Catalogue
    papers: Papers
    like: Knowledge | None = None

    @cached_property
    def graph(self) -> KnowledgeGraph:
        return repriced(self.like.graph, self.catalogue) if self.like else build(self.catalogue, self.papers.passages)

    @cached_property
    def names(self) -> Names:
        return self.like.names if self.like else Names(self.graph)

    @cached_property
    def search(self) -> Search:
        return Search(self.graph, self.papers.index, self.names)

    @cached_property
    def reader(self) -> Reader:
        return self.like.reader.repriced(self.graph) if self.like else Reader(self.graph, self.names)

    def followed_by(self, catalogue: Catalogue) -> Knowledge:
        """The knowledge after a change of the database: itself if that changed no product and no term."""
        if catalogue == self.catalogue:
            return self
        first = self.like or self  # not a chain: it would keep all snapshots
        same = catalogue.lasting == first.catalogue.lasting
        return Knowledge(catalogue, self.papers, first if same else None)


class Library:
    """Knowledge of a database and documents. Follows changes; while a file can't be read, the previous state is used.

    Tools may write to the folder, and the files are read outside the sandbox. So symbolic links and special files are
    skipped, and sizes and times are limited.

    Args:
        data: folder of the tools' data, optionally with ``documents/``.
        project: names the database in ``data`` and the SQL to read it with; its folder may have ``documents/`` too.
    """

    def __init__(self, data: Path, project: ProjectData = NO_DATA) -> None:
        self._data = data
        self._project = project
        self._seen: Stamps = {}
        self._knowledge: Knowledge | None = None
        self._reading = Lock()

    @property
    def folder(self) -> Path:
        """Folder of the documents."""
        return documents(self._data, self._project.folder)

    def current(self) -> Knowledge:
        """Knowledge from the current files. Costs a stat per file, and rebuilds the graph if one has changed.

        Raises:
            OSError, sqlite3.Error: a file can't be read, and there is no earlier state.
        """
        with self._reading:
            stamps = self._stamps()
            if self._knowledge is None or stamps != self._seen:
                try:
                    self._knowledge = self._read(stamps)
                    self._seen = stamps
                except (OSError, sqlite3.Error) as error:
                    if self._knowledge is None:
                        raise
                    log.warning("cannot reload the knowledge, the previous state stays: %s", error)
            return self._knowledge

    def search(self, query: str, count: int, asked: str = "") -> list[Found]:
        """See ``Search.find``."""
        return self.current().search.find(query, count, asked)

    def statements(self, text: str, asked: str = "") -> list[Statement]:
        """See ``Reader.read``."""
        return self.current().reader.read(text, asked)

    def _stamps(self) -> Stamps:
        stamps = {}
        written = sorted(islice(self.folder.glob("*.md"), MOST_NAMES))[:MOST_DOCUMENTS]
        named = self._project.database
        database = [self._data / named, self._data / f"{named}-wal"] if named else []
        for path in (*written, *database):
            with suppress(OSError):  # an editor may be replacing the file
                known = path.lstat()
                if stat.S_ISREG(known.st_mode):
                    stamps[path] = (known.st_mtime_ns, known.st_size)
        return stamps

    def _read(self, stamps: Stamps) -> Knowledge:
        catalogue, known = read_catalogue(self._data, self._project), self._knowledge
        if known is not None and _documents(stamps) == _documents(self._seen):
            return known.followed_by(catalogue)
        found, left = {}, MOST_TOGETHER
        for path in _documents(stamps):
            text = read_document(path, left)
            found[path.stem] = passages(path.stem, text)
            left -= len(text.encode())
        return Knowledge(catalogue, _papers(found))


def _papers(found: Mapping[str, Sequence[Passage]]) -> Papers:
    """Sorts documents, by name, into originals and translations. A translation with another number of passages can't
    be held against its original, and counts as a document of its own."""
    translations: dict[str, dict[str, Sequence[Passage]]] = {}
    originals = dict(found)
    for name, translated in found.items():
        document, language = translation_of(name)
        if language and document in found:
            if len(translated) != len(found[document]):
                log.warning(
                    "%s.md has %d passages, but %s.md has %d: it is read as a document of its own",
                    *(name, len(translated), document, len(found[document])),
                )
                continue
            translations.setdefault(language, {})[document] = originals.pop(name)
    return Papers(
        [passage for one in originals.values() for passage in one],
        {
            language: [passage for name, one in originals.items() for passage in translated.get(name, one)]
            for language, translated in translations.items()
        },
    )


def _documents(stamps: Stamps) -> Stamps:
    return {path: stamp for path, stamp in stamps.items() if path.suffix == ".md"}
