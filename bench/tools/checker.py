"""Client of the judge, `bench.peers.run_bfcl`, which runs in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from bench.peers.peer import Peer
from bench.tools.asking import Answer, Call, Message, Tool
from bench.tools.categories import Category


@dataclass(frozen=True)
class Case:
    """A case. ``turns``: the user messages that begin each turn; only conversations have several."""

    category: Category
    id: str
    tools: Sequence[Tool]
    turns: Sequence[Sequence[Message]]


@dataclass(frozen=True)
class Verdict:
    """Verdict on an answer. ``why``: the checker's description of the error; empty for a right answer."""

    right: bool
    why: str


class Checker:
    """The judge. Thread-safe.

    Args:
        peer: the running process.

    Attributes:
        version: version of the leaderboard's package.
        most_steps: maximum number of answers per turn; a longer turn ends the conversation.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._lock = Lock()
        about = self._ask("about")
        self.version: str = about["version"]
        self.most_steps: int = about["steps"]

    def cases(self, category: Category) -> list[Case]:
        found = self._ask("cases", category=category.name)["cases"]
        return [Case(category, each["id"], each["tools"], each["turns"]) for each in found]

    def judge(self, case: Case, answer: Answer) -> Verdict:
        return Verdict(**self._ask("judge", **_named(case), answer=_said(answer)))

    def begin(self, case: Case) -> None:
        """Resets the services of a conversation."""
        self._ask("begin", **_named(case))

    def perform(self, case: Case, calls: Sequence[Call]) -> list[str]:
        """Performs calls. Returns one result per call; none if the arguments of a call aren't JSON."""
        results: list[str] = self._ask("perform", **_named(case), calls=_plain(calls))["results"]
        return results

    def judge_turns(self, case: Case, turns: Sequence[Sequence[Answer]]) -> Verdict:
        said = [[_said(answer) for answer in turn] for turn in turns]
        return Verdict(**self._ask("judge_turns", **_named(case), turns=said))

    def _ask(self, task: str, **arguments: Any) -> dict[str, Any]:
        with self._lock:
            return self._peer.ask({"task": task, **arguments})


def _named(case: Case) -> dict[str, str]:
    return {"category": case.category.name, "id": case.id}


def _plain(calls: Sequence[Call]) -> list[dict[str, str]]:
    return [{"name": call.name, "arguments": call.arguments} for call in calls]


def _said(answer: Answer) -> dict[str, Any]:
    return {"calls": _plain(answer.calls), "text": answer.text}
