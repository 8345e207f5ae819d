"""Schema-Guided Dialogue: conversations about services. Each intent of a service becomes a tool.

Source: Rastogi et al., "Towards Scalable Multi-domain Conversational Agents: The Schema-Guided Dialogue Dataset"
(2020). Files: ``SPLIT/schema.json`` and ``SPLIT/dialogues_*.json``. Dates are relative to Friday, 1 March 2019; a
system message states this date. A dialogue that is too long becomes several rows, each of which begins with a request
that doesn't depend on earlier turns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.tuner.data.row import Bad, Row, Tool, row, said, tool
from model.tuner.data.sources.plan import Plan, Source, beside
from model.tuner.data.sources.sgd_turns import ANY, Service, Turn, turns_of, typed, wishes

SYSTEM = "You are a helpful assistant. Today is Friday, 2019-03-01."
OTHERS = 3


def rows(folder: Path, plan: Plan) -> Iterator[Row | Bad]:
    services = {each["service_name"]: _service(each) for each in _load(folder / plan.split / "schema.json")}
    for path in sorted((folder / plan.split).glob("dialogues_*.json")):
        for dialogue in _load(path):
            yield from _rows(dialogue, services, plan, f"{path.name}, {dialogue.get('dialogue_id')}")


def _rows(dialogue: Any, services: Mapping[str, Service], plan: Plan, place: str) -> Iterator[Row | Bad]:
    try:
        tools = [each for service in dialogue["services"] for each in services[service].tools.values()]
        turns = turns_of(dialogue["turns"], services)
    except KeyError as error:
        yield Bad(place, f"{error.args[0]} is missing in the dialogue or its schema")
        return
    own = {each["function"]["name"]: each for each in tools}
    if len(own) < len(tools):
        yield Bad(place, "two of its services share an intent name")
        return
    families = {_family(name) for name in dialogue["services"]}
    others = [each for name in services if _family(name) not in families for each in services[name].tools.values()]
    whole = _made(turns, beside(tools, others, OTHERS, plan.draw(f"sgd:{place}")))
    if plan.fits(whole):
        yield whole
        return
    yield from _parts(turns, _Offer(own, [*tools, *others], plan), place)


@dataclass(frozen=True)
class _Offer:
    """Builds rows from parts of a dialogue, each with the tools that the part needs and one more."""

    own: Mapping[str, Tool]
    others: Sequence[Tool]
    plan: Plan

    def row(self, turns: Sequence[Turn]) -> Row | None:
        """A row with these turns; None if it is too long."""
        needed = [self.own[name] for name in sorted(set().union(*(turn.intents for turn in turns)))]
        draw = self.plan.draw(json.dumps(turns[0].messages))
        made = _made(turns, beside(needed, self.others, 1, draw))
        return made if self.plan.fits(made) else None


def _parts(turns: Sequence[Turn], offer: _Offer, place: str) -> Iterator[Row | Bad]:
    """Splits a long dialogue into as few rows as possible. A single request that is too long is cut."""
    left = wishes(turns)
    while left:
        part = left.pop(0)
        made = offer.row(part)
        while made is not None and left and (longer := offer.row([*part, *left[0]])) is not None:
            part, made = [*part, *left.pop(0)], longer
        while made is None and len(part) > 1:
            part = part[:-1]
            made = offer.row(part)
        yield Bad(place, "the first turn of a part is too long") if made is None else made


def _made(turns: Sequence[Turn], tools: Sequence[Tool]) -> Row:
    return row("sgd", [said("system", SYSTEM), *(each for turn in turns for each in turn.messages)], tools)


def _service(schema: Any) -> Service:
    slots = {each["name"]: each for each in schema["slots"]}
    return Service(
        {each["name"]: _tool(each, slots) for each in schema["intents"]},
        frozenset(each["name"] for each in schema["intents"] if each["is_transactional"]),
        slots,
    )


def _tool(intent: Any, slots: Mapping[str, Any]) -> Tool:
    properties: dict[str, Any] = {name: _schema(slots[name]) for name in intent["required_slots"]}
    for name, default in intent["optional_slots"].items():
        properties[name] = _schema(slots[name])
        if default != ANY:
            properties[name]["default"] = typed(slots[name], default)
    return tool(intent["name"], intent["description"], properties, intent["required_slots"])


def _schema(slot: Mapping[str, Any]) -> dict[str, Any]:
    values = [typed(slot, value) for value in slot["possible_values"]] if slot["is_categorical"] else []
    about = {"description": slot["description"]}
    if values and all(isinstance(value, bool) for value in values):
        return {"type": "boolean", **about}
    if values and all(isinstance(value, int) for value in values):
        return {"type": "integer", "enum": values, **about}
    return {"type": "string", **({"enum": values} if values else {}), **about}


def _family(service: str) -> str:
    return service.rpartition("_")[0]


def _load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


SOURCE = Source(("train", "dev"), rows)
