"""Facts that the customer knows, extracted from a task, and the sentences that state them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.retail.tasks import Instructions
from bench.retail.wording import first_person, sentences

UNKNOWN = "I do not know."


class Topic(StrEnum):
    """What an agent may ask for."""

    NAME = "name"
    EMAIL = "email"
    ZIP = "zip"
    USER = "user"
    ORDER = "order"
    PAYMENT = "payment"
    ADDRESS = "address"
    REASON = "reason"


ASKED: dict[Topic, re.Pattern[str]] = {
    topic: re.compile(pattern, re.IGNORECASE)
    for topic, pattern in {
        Topic.NAME: r"\b(?:first|last|full|your|the)(?: and last)? names?\b|\bname and\b|\bname,",
        Topic.EMAIL: r"\be-?mails?\b",
        Topic.ZIP: r"\b(?:zip|postal|post) ?codes?\b|\bzip\b|\bpostcode\b",
        Topic.USER: r"\b(?:user|customer|account)[ _-]?(?:id|number)\b|\busername\b",
        Topic.ORDER: r"\border(?:[ _-](?:id|number))s?\b|\b(?:which|what) orders?\b",
        Topic.PAYMENT: r"\bpayment\b|\brefund(?:ed)? to\b|\bpay\b|\bcard\b|\bpaypal\b",
        Topic.ADDRESS: r"(?<!e-mail )(?<!email )(?<!mail )\baddress\b",
        Topic.REASON: r"\breasons?\b|\bwhy\b",
    }.items()
}
"""Patterns of the agent's questions for each topic."""
_SAID: dict[Topic, re.Pattern[str]] = {
    topic: re.compile(pattern, re.IGNORECASE)
    for topic, pattern in {
        Topic.PAYMENT: r"\b(?:paypal|card|gift ?card|gc|visa|mastercard|amex|original payment|payment method)\b",
        Topic.ADDRESS: r"\baddress\b|\bliv(?:e|ing)\b|\bresid(?:e|ing)\b|\d \w+ (?:st|street|avenue|road|drive|lane)\b",
        Topic.REASON: r"\bmistake\b|\bno longer\b|\bbecause\b|\bsince\b|\bdue to\b",
    }.items()
}
"""Patterns of the customer's sentences that answer each topic."""
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.\w+")
_ZIP, _ORDER = re.compile(r"(?<![\d#])\d{5}(?!\d)"), re.compile(r"#?\bW\d{4,}")
_USER = re.compile(r"\b([a-z]+)_([a-z]+)_\d+\b")
_PROPER = r"([A-Z][\w'’-]+(?: [A-Z][\w'’-]+)+)"
_NAME = re.compile(rf"(?:[Yy]ou are|[Yy]ou['’]re|[Yy]our? name is|called|is) {_PROPER}")
_FIRST_NAME = re.compile(r"(?:[Yy]ou are|[Yy]ou['’]re|[Yy]our? name is) ([A-Z][\w'’-]+)")
_USUAL = {
    Topic.PAYMENT: "The payment method of the order, please.",
    Topic.REASON: "I no longer need it.",
}
"""Default answers, for topics that the task doesn't mention."""


@dataclass(frozen=True)
class Facts:
    """Facts that the customer knows.

    Attributes:
        told: answer to each topic with a known answer.
        lines: known facts and requests, as sentences in the first person.
    """

    told: dict[Topic, str]
    lines: tuple[str, ...]

    @classmethod
    def of(cls, instructions: Instructions, wishes: Sequence[str]) -> Facts:
        """Extracts the facts of a task.

        Args:
            instructions: the task's instructions, with known and unknown facts.
            wishes: sentences of the task that state what the customer wants.
        """
        known = instructions.known_info or ""
        everything = " ".join([known, *wishes])
        lines = [first_person(line) for line in (*sentences(known), *wishes)]
        told = {
            Topic.NAME: _one("My name is {}.", [_name(known)]),
            Topic.EMAIL: _one("My email is {}.", _EMAIL.findall(known)),
            Topic.ZIP: _one("My zip code is {}.", _ZIP.findall(known)),
            Topic.USER: _one("My user id is {}.", [found.group() for found in _USER.finditer(everything)]),
            Topic.ORDER: _one("The order is {}.", _ORDER.findall(everything)),
            **{topic: " ".join(line for line in lines if said.search(line)) for topic, said in _SAID.items()},
        }
        for line in sentences(instructions.unknown_info or ""):
            for topic in topics(line):
                told[topic] = told.get(topic) or first_person(line)
        return cls({topic: said for topic, said in told.items() if said}, tuple(lines))

    def answer(self, topic: Topic) -> str:
        return self.told.get(topic) or _USUAL.get(topic) or f"I do not know my {_named(topic)}."


def topics(question: str) -> list[Topic]:
    """Topics that a sentence asks for."""
    return [topic for topic, asked in ASKED.items() if asked.search(question)]


def _name(known: str) -> str:
    """The name in the text, or else in the user id."""
    if found := _NAME.search(known):
        return found.group(1)
    if user := _USER.search(known):
        return f"{user.group(1)} {user.group(2)}".title()
    first = _FIRST_NAME.search(known)
    return first.group(1) if first else ""


def _one(sentence: str, values: Sequence[str]) -> str:
    there = list(dict.fromkeys(value for value in values if value))
    return sentence.format(" or ".join(there)) if there else ""


def _named(topic: Topic) -> str:
    return {Topic.ZIP: "zip code", Topic.USER: "user id", Topic.ORDER: "order number"}.get(topic, topic.value)
