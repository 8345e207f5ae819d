"""Rules as data: loads the YAML files of a language, and finds the rules that may match a site."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from flightloop.errors import ConfigError
from tools.codescan.conditions import Test, condition
from tools.codescan.finding import Language, Severity
from tools.codescan.globs import matches
from tools.codescan.knowledge import Knowledge
from tools.codescan.node import last
from tools.codescan.site import Site

RULES = Path(__file__).parent / "rules"
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times quicker where libyaml is there


@dataclass(frozen=True)
class Variant:
    """One form of a weakness: an event, names of callees or targets, and conditions."""

    event: str
    names: tuple[str, ...]
    where: tuple[Test, ...] = ()  # all of them hold
    unless: tuple[Test, ...] = ()  # none of them holds

    def matches(self, site: Site, topic: str) -> bool:
        return (
            site.event == self.event
            and (not self.names or matches(self.names, site.names))
            and all(test(site, topic) for test in self.where)
            and not any(test(site, topic) for test in self.unless)
        )


@dataclass(frozen=True)
class Rule:
    """A weakness, with the words to report it."""

    id: str
    cwe: int
    severity: Severity
    topic: str
    """Topic that a value must be clean for, such as ``sql``."""
    reason: str
    fix: str
    variants: tuple[Variant, ...] = ()
    check: str = ""
    """Name of a check in Python, for what conditions cannot say; "" if there is none."""


@dataclass(frozen=True)
class RuleSet:
    """All rules of a language."""

    language: Language
    knowledge: Knowledge
    rules: tuple[Rule, ...]
    _index: dict[tuple[str, str], list[tuple[Rule, Variant]]] = field(default_factory=dict, repr=False)

    def matching(self, site: Site) -> Iterator[Rule]:
        """The rules that find something at a site."""
        keys = {(site.event, last(name)) for name in site.names} | {(site.event, "*")}
        for key in keys:
            for rule, variant in self._index.get(key, ()):
                if variant.matches(site, rule.topic):
                    yield rule

    @staticmethod
    def of(language: Language, knowledge: Knowledge, rules: tuple[Rule, ...]) -> RuleSet:
        index: dict[tuple[str, str], list[tuple[Rule, Variant]]] = defaultdict(list)
        for rule in rules:
            for variant in rule.variants:
                ends = {last(name) for name in variant.names} or {"*"}
                for end in ends:
                    index[variant.event, "*" if "*" in end else end].append((rule, variant))
        return RuleSet(language, knowledge, rules, dict(index))


@cache
def rules_of(language: Language) -> RuleSet:
    """The rules of a language. Raises ConfigError: a rule file is wrong."""
    document = _read(RULES / f"{language}.yaml")
    rules = tuple(_rule(language, given) for given in document["rules"])
    return RuleSet.of(language, Knowledge.of(document["knowledge"]), rules)


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader)
    return document


def _rule(language: Language, given: dict[str, Any]) -> Rule:
    name = f"{language}.{given['id']}"
    known = {"id", "cwe", "severity", "topic", "reason", "fix", "find", "check"}
    if strange := set(given) - known:
        raise ConfigError(f"rule {name}: unknown fields {sorted(strange)}; known: {sorted(known)}", param=name)
    variants = tuple(_variant(one) for one in given.get("find", ()))
    return Rule(
        id=name,
        cwe=given["cwe"],
        severity=Severity(given["severity"]),
        topic=given.get("topic", given["id"]),
        reason=given["reason"],
        fix=given["fix"],
        variants=variants,
        check=given.get("check", ""),
    )


def _variant(given: dict[str, Any]) -> Variant:
    event = next(iter(given))
    return Variant(
        event=event,
        names=tuple(given[event] or ()),
        where=tuple(condition(one) for one in given.get("where", ())),
        unless=tuple(condition(one) for one in given.get("unless", ())),
    )
