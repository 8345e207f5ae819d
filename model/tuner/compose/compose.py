"""Composes conversations from tool families.

Situations: one call, several, none, missing values, an error, several turns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from model.tuner.compose.chinese import ChineseSource
from model.tuner.compose.dress import Dressed, Style, dress, style
from model.tuner.compose.family import Domain, Tool, parts, places
from model.tuner.compose.values import Source
from model.tuner.compose.wish import Wish, fill, results, wish

Message = dict[str, Any]
Row = dict[str, Any]


def compose(domains: Sequence[Domain], rows: int, seed: int) -> Iterator[Row]:
    """Composes rows for `model.tuner.examples.read`. The same seed gives the same rows.

    Up to four consecutive conversations have the same tools and system message; only the other messages differ.
    """
    sources = {"en": Source(seed), "zh": ChineseSource(seed)}
    return islice(_conversations(domains, sources), rows)


def _conversations(domains: Sequence[Domain], sources: Mapping[str, Source]) -> Iterator[Row]:
    drawing = sources["en"].random
    spoken = {name: [domain for domain in domains if domain.language == name] for name in sources}
    while True:
        chinese = bool(spoken["zh"]) and (not spoken["en"] or drawing.random() < CHINESE)
        domain = drawing.choice(spoken["zh" if chinese else "en"])
        source = sources[domain.language]
        situation = _drawn(SITUATIONS, source)
        scene = Scene(domains, domain, style(source), sources, [])
        messages = situation(scene)
        opening = scene.opening()
        yield _row(situation, scene, [*opening, *messages])
        for _ in range(source.random.randrange(MOST_AGAIN + 1)):
            situation = _drawn(AGAIN, source)
            other = scene.again(fitting=situation is not none_fits)
            if other.domain.tools:
                yield _row(situation, scene, [*opening, *situation(other)])


def _drawn(situations: Mapping[Situation, int], source: Source) -> Situation:
    return source.random.choices(list(situations), weights=list(situations.values()))[0]


def _row(situation: Situation, scene: Scene, messages: list[Message]) -> Row:
    tools = [dressed.definition for dressed in scene.tools]
    return {"source": "composed", "intent": situation.__name__, "tools": tools, "messages": messages}


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
        others = random.choices([0, 1, 2, 3, 4, 6, 9, 14], weights=[22, 12, 16, 14, 12, 12, 9, 3])[0]
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


def one_call(scene: Scene) -> list[Message]:
    made = wish(_tool(scene), scene.source)
    [dressed] = scene.offer(made.tool)
    call = scene.call((dressed, made))
    messages = [scene.user(made.text), call]
    return messages + _answered(scene, call, made) if scene.chance(0.35) else messages


def several_calls(scene: Scene) -> list[Message]:
    """Several requests in one message, for one tool or several."""
    count = scene.source.random.choice([2, 2, 2, 3, 3, 4])
    made = _spread(scene, count) if scene.chance(0.5) else None
    if made is None:
        alike = len(scene.domain.tools) < count or scene.chance(0.4)
        tools = [_tool(scene)] * count if alike else scene.source.random.sample(scene.domain.tools, count)
        found = [wish(tool, scene.source) for tool in tools]
        made = found, scene.words("between").join(each.text for each in found)
    wishes, text = made
    distinct = list({each.tool.name: each.tool for each in wishes}.values())
    by_name = dict(zip((tool.name for tool in distinct), scene.offer(*distinct), strict=True))
    call = scene.call(*((by_name[each.tool.name], each) for each in wishes))
    return [scene.user(text), call]


def none_fits(scene: Scene) -> list[Message]:
    """No offered tool fits the request, and the assistant declines."""
    if scene.domain.unrelated and scene.chance(0.25):
        text = scene.source.random.choice(scene.domain.unrelated)
        for name in places(text):
            text = text.replace("{" + name + "}", scene.source.of(name).said)
        scene.offer(without=None)
    else:
        tool = _tool(scene)
        text = wish(tool, scene.source).text
        scene.offer(without=tool)
    return [scene.user(text), _said(_declined(scene))]


def something_missing(scene: Scene) -> list[Message]:
    """A required value is missing: the assistant asks for it, and makes the call after the answer."""
    tool = _tool(scene, lambda one: bool(one.incomplete))
    made = wish(tool, scene.source)
    if not tool.incomplete or made.implies:  # the incomplete request would say something else
        return one_call(scene)
    one = scene.source.random.choice(tool.incomplete)
    [dressed] = scene.offer(tool)
    text = "".join(piece for piece, optional in parts(fill(one.ask, made)) if not optional)
    messages = [scene.user(text), _said(fill(one.reply, made))]
    if scene.chance(0.5):
        return messages
    said = set(places("".join(piece for piece, optional in parts(one.ask) if not optional)))
    arguments = _only(made, said | set(one.missing))
    answer = scene.source.random.choice(scene.source.ANSWERS).join(
        made.said[name] for name in one.missing if name in made.said
    )
    if not answer or arguments is None:
        return messages
    return [*messages, scene.user(answer), scene.call((dressed, Wish(tool, answer, arguments, made.said)))]


def it_fails(scene: Scene) -> list[Message]:
    """The tool returns an error, and the assistant reports it."""
    tool = _tool(scene, lambda one: one.error is not None)
    if tool.error is None:
        return one_call(scene)
    made = wish(tool, scene.source)
    [dressed] = scene.offer(tool)
    call = scene.call((dressed, made))
    says = fill(tool.error.says, made)
    told = f"error: {says}" if scene.chance(0.5) else {"error": says}
    return [scene.user(made.text), call, *scene.told(call, told), _said(fill(tool.error.answer, made))]


def several_turns(scene: Scene) -> list[Message]:
    """Several requests in succession, each for a different tool."""
    count = min(len(scene.domain.tools), scene.source.random.choice([2, 2, 3]))
    tools = scene.source.random.sample(scene.domain.tools, count)
    dressed = scene.offer(*tools)
    messages: list[Message] = []
    for tool, shape in zip(tools, dressed, strict=True):
        made = wish(tool, scene.source)
        call = scene.call((shape, made))
        messages += [scene.user(made.text), call, *_answered(scene, call, made)]
    if scene.chance(0.3):
        messages += [{"role": "user", "content": scene.words("thanks")}, _said(scene.words("welcomes"))]
    return messages


Situation = Callable[[Scene], list[Message]]
SITUATIONS: dict[Situation, int] = {
    one_call: 36,
    several_calls: 18,
    none_fits: 28,
    something_missing: 8,
    it_fails: 3,
    several_turns: 7,
}
"""Frequency of each situation, in percent."""
AGAIN: dict[Situation, int] = {
    one_call: 40,
    several_calls: 18,
    none_fits: 30,
    something_missing: 7,
    it_fails: 2,
    several_turns: 3,
}
"""Frequency of each situation in conversations that reuse the previous one's tools, in percent."""
MOST_AGAIN = 3
CHINESE = 0.4
"""Share of Chinese conversations, where there are families in both languages."""


def _tool(scene: Scene, wanted: Callable[[Tool], bool] = lambda tool: True) -> Tool:
    fitting = [tool for tool in scene.domain.tools if wanted(tool)]
    return scene.source.random.choice(fitting or scene.domain.tools)


def _spread(scene: Scene, count: int) -> tuple[list[Wish], str] | None:
    """A request with several values in place of one (the weather in Oslo, Rome and Lima); None if not possible."""
    tool = _tool(scene)
    first = wish(tool, scene.source)
    names = [
        name
        for name, value in first.arguments.items()
        if isinstance(value, str) and not tool.parameters[name].enum and first.text.count(first.said[name]) == 1
        and len(first.said[name]) > 1
    ]  # fmt: skip
    if not names:
        return None
    name = scene.source.random.choice(names)
    wishes, said = [first], [first.said[name]]
    for _ in range(4 * count):
        other = wish(tool, scene.source)
        if len(wishes) < count and name in other.arguments and other.said[name] not in said:
            said.append(other.said[name])
            wishes.append(Wish(tool, "", {**first.arguments, name: other.arguments[name]}, first.said))
    if len(wishes) < 2:
        return None
    return wishes, first.text.replace(first.said[name], scene.source.joined(said))


def _answered(scene: Scene, call: Message, made: Wish) -> list[Message]:
    if not (made.tool.result and made.tool.answers):
        return []
    values = results(made.tool, scene.source)
    told = scene.told(call, {name: value.argument for name, value in values.items()})
    said = {name: value.said for name, value in values.items()}
    named = [text for text in made.tool.answers if all(name in said or name in made.said for name in places(text))]
    usable = [text for text in named if all(name in said or _mentioned(made, name) for name in places(text))]
    if not usable:
        return []
    return [*told, _said(fill(scene.source.random.choice(usable), made, said))]


def _mentioned(made: Wish, name: str) -> bool:
    return made.said[name] in made.text


def _only(made: Wish, names: set[str]) -> dict[str, Any] | None:
    """Arguments for some parameters; None if one of them is an object or another parameter is required."""
    tops = {name.partition(".")[0] for name in names}
    if any("." in name for name in names) or any(
        parameter.required and name not in tops for name, parameter in made.tool.parameters.items()
    ):
        return None
    if any(name not in made.arguments for name in tops):
        return None
    return {name: made.arguments[name] for name in made.tool.parameters if name in tops}


def _declined(scene: Scene) -> str:
    abouts = [dressed.definition["function"]["description"] for dressed in scene.tools]
    alike = [about for about in abouts if about and about.isascii() == (scene.domain.language == "en")]
    return scene.words("declines", abilities=" ".join(alike[:2]) or scene.words("nothing"))


def _said(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@cache
def _wording(file: str) -> dict[str, list[str]]:
    read: dict[str, list[str]] = yaml.safe_load((Path(__file__).parent / file).read_text(encoding="utf-8"))
    return read
