"""Turns of Schema-Guided Dialogue: user messages, and the assistant's calls and answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from model.tuner.data.row import Message, Tool, called, result, said

ROWS = 2
MOST_ROWS = 5
FIELDS = 4
ANY = "dontcare"
"""The set's value of a slot for which any value is acceptable."""
_TELLING = frozenset({"OFFER", "INFORM", "CONFIRM", "INFORM_COUNT"})


@dataclass(frozen=True)
class Service:
    """A service of the schema.

    Attributes:
        tools: tools by intent.
        writes: intents that change something.
        slots: slots by name.
    """

    tools: Mapping[str, Tool]
    writes: frozenset[str]
    slots: Mapping[str, Mapping[str, Any]]

    def typed(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Typed values of slots, without slots for which any value is acceptable."""
        return {name: typed(self.slots.get(name, {}), text) for name, text in values.items() if text != ANY}


@dataclass(frozen=True)
class Turn:
    """A user message and everything that the assistant does up to its answer.

    Attributes:
        messages: messages of user, assistant and tools.
        begins: whether a new request begins here.
        intents: intents of the turn.
        values: in order, values that the user or a tool gives (``told``), and values that the assistant uses in text or
            in calls (``used``).
    """

    messages: list[Message]
    begins: bool
    intents: set[str]
    values: list[tuple[Literal["told", "used"], set[str]]]


def typed(slot: Mapping[str, Any], text: str) -> Any:
    """A slot's value: a boolean or whole number if the slot's possible values are. In the set, all are text."""
    values = slot.get("possible_values", ()) if slot.get("is_categorical") else ()
    if values and set(values) <= {"True", "False"} and text in values:
        return text == "True"
    if values and all(value.isdecimal() for value in values) and text.isdecimal():
        return int(text)
    return text


def wishes(turns: Sequence[Turn]) -> list[list[Turn]]:
    """Groups turns: a request that doesn't depend on earlier turns begins a new group."""
    starts = [at for at, turn in enumerate(turns) if at == 0 or turn.begins]
    found: list[list[Turn]] = []
    for at, end in zip(starts, [*starts[1:], len(turns)], strict=True):
        found.append(list(turns[at:end]))
        while len(found) > 1 and not _grounded(found[-1]):
            wish = found.pop()
            found[-1].extend(wish)
    return found


def _grounded(turns: Sequence[Turn]) -> bool:
    """Whether the assistant uses only values that the user or a tool has given before in these turns."""
    told: set[str] = {ANY}
    for how, values in (each for turn in turns for each in turn.values):
        if how == "used" and not values <= told:
            return False
        told |= values
    return True


def turns_of(turns: Sequence[Any], services: Mapping[str, Service]) -> list[Turn]:
    """Turns of a dialogue.

    Raises:
        KeyError: a field of the format is missing.
    """
    found: list[Turn] = []
    calls = 0
    for place, turn in enumerate(turns):
        acts = [action for frame in turn["frames"] for action in frame["actions"]]
        if turn["speaker"] == "USER":
            found.append(_begun(turn, acts))
            continue
        now = found[-1]
        for frame in turn["frames"]:
            if "service_call" in frame:
                service = services[frame["service"]]
                now.messages.extend(_call(frame, service, _answers(turns[place:], frame), calls))
                now.intents.add(frame["service_call"]["method"])
                now.values.extend(_values(frame, service))
                calls += 1
        now.values.append(
            ("used", {value for act in acts if act["act"] in _TELLING for value in act["canonical_values"]})
        )
        now.messages.append(said("assistant", turn["utterance"]))
    return found


def _begun(turn: Any, acts: Sequence[Any]) -> Turn:
    active = {frame["state"]["active_intent"] for frame in turn["frames"]} - {"NONE"}
    begins = any(act["act"] == "INFORM_INTENT" for act in acts)
    told = {value for act in acts for value in act["canonical_values"]}
    return Turn([said("user", turn["utterance"])], begins, active, [("told", told)])


def _values(frame: Any, service: Service) -> Iterator[tuple[Literal["told", "used"], set[str]]]:
    """Values of a call: those in its tool's definition, its arguments, and its results."""
    call, given = frame["service_call"], frame["service_results"]
    properties = service.tools[call["method"]]["function"]["parameters"]["properties"]
    yield "told", {str(schema.get("default", ANY)) for schema in properties.values()}
    yield "used", set(call["parameters"].values())
    yield "told", {str(len(given))}.union(*(each.values() for each in given))


def _call(frame: Any, service: Service, answers: Mapping[str, set[str]], number: int) -> list[Message]:
    call = frame["service_call"]
    arguments = service.typed(call["parameters"])
    return [called([(call["method"], arguments)], number), result(number, _shown(frame, service, answers))]


def _answers(turns: Sequence[Any], frame: Any) -> dict[str, set[str]]:
    """Values from a call's results that the assistant mentions, by slot, until its service is called again."""
    told: dict[str, set[str]] = {}
    for turn in turns:
        for each in turn["frames"]:
            if turn["speaker"] == "USER" or each["service"] != frame["service"]:
                continue
            if each is not frame and "service_call" in each:
                return told
            for action in each["actions"]:
                told.setdefault(action["slot"], set()).update(action["canonical_values"])
    return told


def _shown(frame: Any, service: Service, answers: Mapping[str, set[str]]) -> Any:
    """Results of a call, cut to what the assistant mentions and a little more."""
    found, call = frame["service_results"], frame["service_call"]
    fields = _fields(found, call["parameters"], answers)
    short = [service.typed({name: each[name] for name in fields if name in each}) for each in found]
    if call["method"] in service.writes:
        failed = any(action["act"] == "NOTIFY_FAILURE" for action in frame["actions"])
        if failed:
            return {"status": "failed", "alternatives": short} if short else {"status": "failed"}
        return {"status": "success", **(short[0] if short else {})}
    return {"count": len(found), "results": short[: _needed(found, answers)]}


def _fields(
    found: Sequence[Mapping[str, str]], parameters: Mapping[str, str], answers: Mapping[str, set[str]]
) -> list[str]:
    """Names of the fields to show: first those that the assistant mentions, then those missing in the call."""
    names = list(dict.fromkeys(name for each in found for name in each))
    telling = [name for name in names if name in answers]
    ordered = sorted(names, key=lambda name: (name not in answers, name in parameters))
    return ordered[: max(FIELDS, len(telling))]


def _needed(found: Sequence[Mapping[str, str]], answers: Mapping[str, set[str]]) -> int:
    """Number of leading results that contain every value that the assistant mentions."""
    seen: set[tuple[str, str]] = set()
    needed = ROWS
    for number, each in enumerate(found[:MOST_ROWS], 1):
        new = {(name, value) for name, value in each.items() if value in answers.get(name, ())} - seen
        seen |= new
        needed = max(needed, number) if new else needed
    return needed
