"""Finds names of the graph's nodes in a text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tools.knowledge.graph import Kind, KnowledgeGraph, Node, Relation
from tools.knowledge.words import placed_words, stem, unspaced

_MOST_WORDS = 6


@dataclass(frozen=True)
class Mention:
    """A name at characters [start, end) of a text, and the nodes with that name."""

    start: int
    end: int
    nodes: tuple[Node, ...]


class Names:
    """Finds products, categories, documents and terms by name, and products by a synonym or a part of their names.

    A single word denotes a product if it is the last word of the product's name ("kettle") and the documents don't use
    it for something else ("post-office boxes").
    """

    def __init__(self, graph: KnowledgeGraph) -> None:
        ordinary = {
            word
            for rule in graph.nodes(Kind.RULE)
            if not graph.after(rule, Relation.COVERS)
            for word in _stems(rule.text)
        }
        found: dict[tuple[str, ...], dict[str, Node]] = defaultdict(dict)
        for node in graph.nodes(Kind.PRODUCT):
            for alias in _aliases(node.name):
                if len(alias) > 1 or alias[0] not in ordinary:
                    found[alias][node.id] = node
        # Whole names last, so that they take precedence over parts of others.
        for node in graph.nodes(Kind.CATEGORY, Kind.DOCUMENT, Kind.TERM, Kind.PRODUCT):
            whole = tuple(_stems(node.name))
            found[whole] = {node.id: node} | (found[whole] if node.kind is not Kind.PRODUCT else {})
        self._unspaced: dict[str, dict[str, Node]] = defaultdict(dict)
        for node in graph.nodes(Kind.PRODUCT):
            for synonym in node.synonyms:
                if unspaced(synonym):
                    self._unspaced[synonym.lower()][node.id] = node
                else:
                    found[tuple(_stems(synonym))][node.id] = node
        longest_first = sorted(self._unspaced, key=len, reverse=True)
        self._any_unspaced = re.compile("|".join(map(re.escape, longest_first)) or "(?!)", re.IGNORECASE)
        self._nodes = {alias: tuple(nodes.values()) for alias, nodes in found.items() if alias}

    def find(self, text: str, *kinds: Kind) -> list[Mention]:
        """Mentions of nodes of these kinds (default: all), in text order. At each word, the longest name counts."""
        found = list(self._written_unspaced(text, kinds))
        words = placed_words(blanked(text, found))
        index = 0
        while index < len(words):
            for length in range(min(_MOST_WORDS, len(words) - index), 0, -1):
                run = words[index : index + length]
                nodes = _of_kinds(self._nodes.get(tuple(word.stem for word in run), ()), kinds)
                if nodes:
                    found.append(Mention(run[0].start, run[-1].end, nodes))
                    index += length - 1
                    break
            index += 1
        return sorted(found, key=lambda one: one.start)

    def _written_unspaced(self, text: str, kinds: Sequence[Kind]) -> Iterator[Mention]:
        """Mentions in a writing without blanks, where a name is found within longer runs of characters."""
        for match in self._any_unspaced.finditer(text):
            nodes = _of_kinds(tuple(self._unspaced.get(match.group().lower(), {}).values()), kinds)
            if nodes:
                yield Mention(match.start(), match.end(), nodes)

    def nodes(self, text: str, *kinds: Kind) -> list[Node]:
        """Distinct nodes of the mentions that `find` returns."""
        return list(dict.fromkeys(node for mention in self.find(text, *kinds) for node in mention.nodes))


def blanked(text: str, mentions: Iterable[Mention]) -> str:
    """A text with blanks in place of mentions, which are in text order."""
    parts, at = [], 0
    for one in mentions:
        parts += [text[at : one.start], " " * (one.end - one.start)]
        at = one.end
    return "".join([*parts, text[at:]])


def _of_kinds(nodes: tuple[Node, ...], kinds: Sequence[Kind]) -> tuple[Node, ...]:
    return tuple(node for node in nodes if not kinds or node.kind in kinds)


def last_word(name: str) -> str:
    """The last word of a name before any word with a digit, stemmed. It usually says what the thing is ("kettle")."""
    before = re.split(r"\s+\S*\d", name)[0]
    return (_stems(before) or [stem(name.lower())])[-1]


def _aliases(name: str) -> Iterator[tuple[str, ...]]:
    """Runs of two or more words of a name, and its last word."""
    stems = _stems(name)
    for first in range(len(stems)):
        for end in range(first + 2, min(len(stems), first + _MOST_WORDS) + 1):
            yield tuple(stems[first:end])
    yield (last_word(name),)


def _stems(text: str) -> list[str]:
    return [word.stem for word in placed_words(text) if word.stem != "s"]
