"""Wordings of customers and of the agent, from the YAML files of this folder."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from flightloop.errors import ConfigError
from flightloop.lessons import NoCase

ENGLISH, CHINESE = "en", "zh"
OTHERS = ("de", "es", "fr")


class Untold(NoCase):
    """The phrases have no wording in the case's language."""


@dataclass(frozen=True)
class Fact:
    """A question that the shop's documents answer. ``slots``: kind of slot in its wordings, ``""`` for none."""

    intent: str
    query: str
    passage: str
    answers: dict[str, str]
    asks: dict[str, tuple[str, ...]]
    slots: str = ""


@dataclass(frozen=True)
class Phrases:
    """All wordings of a project."""

    asks: dict[str, Any]
    answers: dict[str, Any]
    facts: tuple[Fact, ...]
    scenery: dict[str, tuple[str, ...]]
    messages: dict[str, tuple[str, ...]]

    @classmethod
    def read(cls, folder: Path) -> Phrases:
        """Reads the YAML files. Raises ConfigError if one is missing or invalid."""
        try:
            asks, answers, facts, scenery = (
                _load(folder, name) for name in ("asks", "answers", "knowledge", "scenery")
            )
            english, chinese = (_lines(_load(folder, name)) for name in ("messages", "messages_zh"))
            messages = {intent: (*lines, *chinese[intent]) for intent, lines in english.items()}
            return cls(asks, answers, tuple(map(_fact, facts)), _lines(scenery), messages)
        except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{folder}: cannot read the lessons: {error}") from error

    def wordings(self, language: str, intent: str, kind: str) -> tuple[str, ...]:
        """A customer's wordings for an intent. Raises Untold if there are none."""
        return lines_of(self.asks[intent][kind], language)

    def reasons(self, language: str, intent: str) -> tuple[str, ...]:
        """Sentences with a reason for a request, to add to the customer's message. Empty if there are none."""
        found = self.asks[intent].get("reasons", {})
        return lines_of(found, language) if language in found else ()

    def answer(self, random: Random, language: str, path: tuple[str, ...], slots: dict[str, Any]) -> str:
        """The agent's text for an outcome, with its slots filled. Raises Untold."""
        found: Any = self.answers
        for name in path:
            found = found[name]
        return random.choice(lines_of(found, language)).format(**slots)

    def goal(self, name: str, **slots: Any) -> str:
        return str(self.answers["goals"][name]).format(**slots)


def lines_of(by_language: dict[str, str], language: str) -> tuple[str, ...]:
    if language not in by_language:
        raise Untold(f"no wording in {language}")
    return tuple(by_language[language].splitlines())


def fields_of(wording: str) -> set[str]:
    """Names of a wording's slots."""
    return {name for _, name, _, _ in string.Formatter().parse(wording) if name}


def _load(folder: Path, name: str) -> Any:
    return yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))


def _lines(entries: dict[str, str]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(lines.splitlines()) for name, lines in entries.items()}


def _fact(entry: dict[str, Any]) -> Fact:
    asks = {language: lines_of(entry["asks"], language) for language in entry["asks"]}
    return Fact(entry["intent"], entry["query"], entry["passage"], entry["answer"], asks, entry.get("slots", ""))
