"""Tools that search documents and products, based on ``tools.knowledge``."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from flightloop.tool import ProjectData, ToolContext, ToolRefused, tool

if TYPE_CHECKING:
    from tools.knowledge.library import Library

MOST_RESULTS = 3


@tool(effect="pure", timeout_s=10)
def search_knowledge(context: ToolContext, query: Annotated[str, Field(min_length=2, max_length=200)]) -> Any:
    """Search the documents, and the products with their price, stock and warranty.

    Args:
        query: a few words
    """
    library = _library(context.data, context.project)
    if not library.current().papers.passages:
        raise ToolRefused(f"There are no documents in {library.folder}.")
    found = library.search(query, MOST_RESULTS, context.words)
    if not found:
        raise ToolRefused(f"Nothing was found about {query!r} in the documents; they may say it in other words.")
    return [{"document": one.source, "text": one.text} for one in found]


@tool(effect="pure", timeout_s=10)
def check_facts(context: ToolContext, text: str, asked: str = "") -> Any:
    """Hold a text's numbers with a unit against the documents and products.

    Args:
        text: what is stated
        asked: the question that it answers
    """
    stated = _library(context.data, context.project).statements(text, asked)
    # Of a correct number, only the position is returned.
    return [asdict(one) if not one.right else {"start": one.start, "end": one.end, "right": True} for one in stated]


@lru_cache(maxsize=8)
def _library(data: Path, project: ProjectData) -> Library:
    # Not before the first search: networkx and bm25s take half of a host's start, and of its memory.
    from tools.knowledge.library import Library

    return Library(data, project)
