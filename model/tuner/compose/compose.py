"""Composes conversations from tool families.

Situations: one call, several, none, missing values, an error, several turns, corrections, questions about a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from model.tuner.compose.chinese import ChineseSource
from model.tuner.compose.dress import style
from model.tuner.compose.family import Domain, Tool, parts, places
from model.tuner.compose.scene import Message, Scene, replied
from model.tuner.compose.values import Source
from model.tuner.compose.wish import TRIES, Wish, fill, results, wish

Row = dict[str, Any]


def compose(domains: Sequence[Domain], rows: int, seed: int) -> Iterator[Row]:
    """Composes rows for `model.tuner.examples.read`. The same seed gives the same rows.

    Up to six consecutive conversations have the same tools and system message; only the other messages differ.
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


def offers(domains: Sequence[Domain], seed: int) -> Iterator[list[Row]]:
    """Definitions of tools as conversations offer them, for questions that none of them is needed for."""
    sources = {"en": Source(seed), "zh": ChineseSource(seed)}
    while True:
        domain = sources["en"].random.choice(domains)
        scene = Scene(domains, domain, style(sources[domain.language]), sources, [])
        scene.offer()
        yield [dressed.definition for dressed in scene.tools]


def _drawn(situations: Mapping[Situation, int], source: Source) -> Situation:
    return source.random.choices(list(situations), weights=list(situations.values()))[0]


def _row(situation: Situation, scene: Scene, messages: list[Message]) -> Row:
    tools = [dressed.definition for dressed in scene.tools]
    return {"source": "composed", "intent": situation.__name__, "tools": tools, "messages": messages}


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
    return [scene.user(text), replied(_declined(scene))]


def something_missing(scene: Scene) -> list[Message]:
    """A required value is missing: the assistant asks for it, and makes the call after the answer."""
    tool = _tool(scene, lambda one: bool(one.incomplete))
    made = wish(tool, scene.source)
    if not tool.incomplete or made.implies:  # the incomplete request would say something else
        return one_call(scene)
    one = scene.source.random.choice(tool.incomplete)
    [dressed] = scene.offer(tool)
    text = "".join(piece for piece, optional in parts(fill(one.ask, made)) if not optional)
    messages = [scene.user(text), replied(fill(one.reply, made))]
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
    return [scene.user(made.text), call, *scene.told(call, told), replied(fill(tool.error.answer, made))]


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
        messages += [{"role": "user", "content": scene.words("thanks")}, replied(scene.words("welcomes"))]
    return messages


def corrected(scene: Scene) -> list[Message]:
    """The user takes a value back: in the same message, or after the answer. The latest value counts."""
    changed = _changed(scene)
    if changed is None:
        return one_call(scene)
    first, second, name = changed
    [dressed] = scene.offer(first.tool)
    wrong, right = first.said[name], second.said[name]
    if scene.chance(0.5):
        text = first.text.replace(wrong, scene.words("slips", wrong=wrong, right=right))
        return [scene.user(text), scene.call((dressed, second))]
    call = scene.call((dressed, first))
    answered = _answered(scene, call, first)
    if not answered:
        return [scene.user(first.text), call]
    again = {"role": "user", "content": scene.words("corrections", wrong=wrong, right=right)}
    return [scene.user(first.text), call, *answered, again, scene.call((dressed, second))]


def asked_again(scene: Scene) -> list[Message]:
    """After the answer, the user asks for it once more. The result is known, so no call is needed."""
    made = wish(_tool(scene, lambda one: bool(one.answers)), scene.source)
    [dressed] = scene.offer(made.tool)
    call = scene.call((dressed, made))
    answered = _answered(scene, call, made)
    if not answered:
        return [scene.user(made.text), call]
    repeated = {"role": "user", "content": scene.words("pardons")}
    return [scene.user(made.text), call, *answered, repeated, replied(answered[-1]["content"])]


Situation = Callable[[Scene], list[Message]]
SITUATIONS: dict[Situation, int] = {
    one_call: 40,
    several_calls: 22,
    none_fits: 16,
    something_missing: 7,
    it_fails: 3,
    several_turns: 6,
    corrected: 4,
    asked_again: 2,
}
"""Frequency of each situation, in percent."""
AGAIN: dict[Situation, int] = {
    one_call: 40,
    several_calls: 21,
    none_fits: 22,
    something_missing: 7,
    it_fails: 2,
    several_turns: 3,
    corrected: 4,
    asked_again: 1,
}
"""Frequency of each situation in conversations that reuse the previous one's tools, in percent."""
MOST_AGAIN = 5
CHINESE = 0.4
"""Share of Chinese conversations, where there are families in both languages."""


def _tool(scene: Scene, wanted: Callable[[Tool], bool] = lambda tool: True) -> Tool:
    fitting = [tool for tool in scene.domain.tools if wanted(tool)]
    return scene.source.random.choice(fitting or scene.domain.tools)


def _spread(scene: Scene, count: int) -> tuple[list[Wish], str] | None:
    """A request with several values in place of one (the weather in Oslo, Rome and Lima); None if not possible."""
    tool = _tool(scene)
    first = wish(tool, scene.source)
    names = [name for name in _replaceable(first) if not tool.parameters[name].enum]
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


def _changed(scene: Scene) -> tuple[Wish, Wish, str] | None:
    """Two requests that differ in the value of one parameter, and its name; None if not possible."""
    tool = _tool(scene)
    first = wish(tool, scene.source)
    kinds = [str(parameter.value) for parameter in tool.parameters.values()]
    # If two parameters have values of a kind, it is not clear which one is taken back.
    names = [name for name in _replaceable(first) if kinds.count(str(tool.parameters[name].value)) == 1]
    if not names or first.implies:
        return None
    name = scene.source.random.choice(names)
    for _ in range(TRIES):
        other = wish(tool, scene.source)
        if name in other.arguments and other.arguments[name] != first.arguments[name]:
            arguments = {**first.arguments, name: other.arguments[name]}
            return first, Wish(tool, first.text, arguments, {**first.said, name: other.said[name]}), name
    return None


def _replaceable(made: Wish) -> list[str]:
    """Parameters whose value is a string that is said exactly once."""
    return [
        name
        for name, value in made.arguments.items()
        if isinstance(value, str) and len(made.said[name]) > 1 and made.text.count(made.said[name]) == 1
    ]


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
    return [*told, replied(fill(scene.source.random.choice(usable), made, said))]


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
