"""Search over the policy documents, by BM25 over their passages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import bm25s
from pydantic import Field

from flightloop.tool import ToolContext, ToolRefused, tool

FOLDER = "documents"
MAX_PASSAGES = 3
STOPWORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and any are as at be but by can do does for from had has have how i if in into is it its me my of on or "
        "our so that the their there these they this to was we what when where which will with you your",
    )
)


@dataclass(frozen=True)
class Passage:
    document: str
    heading: str
    text: str


@tool(effect="pure", timeout_s=10)
def search_knowledge(context: ToolContext, query: Annotated[str, Field(min_length=2, max_length=200)]) -> Any:
    """Search the shop's policies: shipping, returns, refunds, warranty, payment, gift cards, account, privacy.

    Args:
        query: a few words
    """
    folder = documents(context.data)
    stamps = tuple((str(path), path.stat().st_mtime_ns) for path in sorted(folder.glob("*.md")))
    if not stamps:
        raise ToolRefused(f"There are no documents in {folder}.")
    found = _index(stamps).search(query, MAX_PASSAGES)
    if not found:
        raise ToolRefused(f"Nothing was found for {query!r}. Try other words.")
    return [{"document": passage.document, "text": f"{passage.heading}: {passage.text}"} for passage in found]


def documents(data: Path) -> Path:
    """The deployment's own documents, or else the embedded shop's."""
    own = data / FOLDER
    return own if own.is_dir() else Path(str(files("tools.shop").joinpath(FOLDER)))


def passages(path: Path) -> list[Passage]:
    """A document's paragraphs, each with the heading above it; the first ``#`` line names the document."""
    title, heading, found = path.stem.replace("_", " "), "", []
    for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
        lines = block.strip().splitlines()
        while lines and lines[0].startswith("#"):
            line = lines.pop(0)
            name = line.lstrip("#").strip()
            title, heading = (name, name) if line.startswith("# ") else (title, name)
        if lines:
            found.append(Passage(title, heading or title, " ".join(line.strip() for line in lines)))
    return found


class _Index:
    def __init__(self, found: list[Passage]) -> None:
        self._passages = found
        self._retriever = bm25s.BM25()
        texts = [f"{passage.document} {passage.heading} {passage.text}" for passage in found]
        self._vocabulary = {word for text in texts for word in _words(text)}
        self._retriever.index([_words(text) for text in texts], show_progress=False)

    def search(self, query: str, count: int) -> list[Passage]:
        words = [word for word in _words(query) if word in self._vocabulary]
        if not words:
            return []
        count = min(count, len(self._passages))
        numbers, scores = self._retriever.retrieve([words], k=count, show_progress=False)
        return [self._passages[int(number)] for number, score in zip(numbers[0], scores[0], strict=True) if score > 0]


@lru_cache(maxsize=8)
def _index(stamps: tuple[tuple[str, int], ...]) -> _Index:
    return _Index([passage for path, _ in stamps for passage in passages(Path(path))])


def _words(text: str) -> list[str]:
    """Lower-case words without stop words and common endings."""
    words = [word for word in re.findall(r"[a-z0-9]+", text.lower()) if word not in STOPWORDS]
    return [_stem(word) for word in words] or ["?"]


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word[:-1] if word.endswith("s") and len(word) > 3 and not word.endswith("ss") else word
