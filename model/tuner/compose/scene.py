"""A conversation that is being composed: its tools, and what the user, the assistant and the tools say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from model.tuner.compose.dress import Dressed, Style, dress
from model.tuner.compose.family import Domain, Tool, places
from model.tuner.compose.values import Source
from model.tuner.compose.wish import Wish

Message = dict[str, Any]


@dataclass
class Scene:
    """A conversation being composed: its tools, all in one style, and its domain."""

    domains: Sequence[Domain]  # all domains, for tools that don't fit
    domain: Domain
    style: Style
    sources: Mapping[str, Source]  # draw values, by language
    tools: list[Dressed]
    calls: int = 0  # number of calls so far, for their ids
    settled: bool = False  # the tools are fixed

    @property
    def source(self) -> Source:
        """Draws values in the domain's language."""
        return self.sources[self.domain.language]

    def again(self, fitting: bool) -> Scene:
        """A scene with the same tools for another request. ``fitting``: whether one of the tools fits the request."""
        domain = self.source.random.choice(self.tools).domain
        offered = [dressed.tool for dressed in self.tools]
        tools = [tool for tool in domain.tools if any(tool is other for other in offered) == fitting]
        return replace(self, domain=domain.model_copy(update={"tools": tools}), settled=True)

    def opening(self) -> list[Message]:
        """A system message, or an empty list."""
        if self.source.random.random() < 0.5:
            return []
        return [{"role": "system", "content": self.words("systems")}]

    def words(self, kind: str, **given: str) -> str:
        """A random text of a kind in the language's situations, filled with ``given`` or random values."""
        text = self.source.random.choice(_wording(self.source.SITUATIONS)[kind])
        for name in places(text):
            text = text.replace("{" + name + "}", given[name] if name in given else self.source.of(name).said)
        return text

    def chance(self, probability: float) -> bool:
        return self.source.random.random() < probability

    def offer(self, *wanted: Tool, without: Tool | None = None) -> list[Dressed]:
        """Offers the wanted tools, and more from all domains except the tool ``without``. Returns the wanted ones."""
        if self.settled:
            return [next(one for one in self.tools if one.tool is tool) for tool in wanted]
        random = self.source.random
        others = random.choices([0, 1, 2, 3, 4, 6, 9, 14], weights=[20, 16, 19, 15, 12, 10, 6, 2])[0]
        near = [tool for tool in self.domain.tools if tool not in wanted and tool is not without]
        random.shuffle(near)
        count = min(len(near), others if self.chance(0.6) else random.randint(0, others))
        offered = [(tool, self.domain) for tool in [*wanted, *near[:count]]]
        while len(offered) < len(wanted) + others or not offered:
            domain = random.choice(self.domains)
            tool = random.choice(domain.tools)
            if domain is not self.domain and all(tool is not other for other, _ in offered):
                offered.append((tool, domain))
        dressed = [dress(tool, domain, self.style, self.source) for tool, domain in offered]
        kept = {one.name: one for one in reversed(dressed)}  # of tools with the same name, a wanted one
        self.tools = random.sample(list(kept.values()), len(kept))
        return dressed[: len(wanted)]

    def call(self, *made: tuple[Dressed, Wish]) -> Message:
        """The assistant's message with these calls."""
        calls = []
        for dressed, each in made:
            self.calls += 1
            function = {"name": dressed.name, "arguments": _json(dressed.names.of(each.arguments))}
            calls.append({"id": f"call_{self.calls}", "type": "function", "function": function})
        return {"role": "assistant", "tool_calls": calls}

    def told(self, call: Message, *contents: Any) -> list[Message]:
        """Tool messages with the results of a message's calls."""
        return [
            {
                "role": "tool",
                "tool_call_id": one["id"],
                "content": content if isinstance(content, str) else _json(content),
            }
            for one, content in zip(call["tool_calls"], contents, strict=True)
        ]

    def user(self, text: str) -> Message:
        if self.chance(0.12):
            text = self.words("greetings") + text
        if self.chance(0.1):
            text = text + self.words("endings")
        return {"role": "user", "content": text}


def replied(text: str) -> Message:
    """The assistant's message with a text."""
    return {"role": "assistant", "content": text}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@cache
def _wording(file: str) -> dict[str, list[str]]:
    read: dict[str, list[str]] = yaml.safe_load((Path(__file__).parent / file).read_text(encoding="utf-8"))
    return read
