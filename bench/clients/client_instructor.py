"""instructor: structured answers with validation and retries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import instructor
from openai import AsyncOpenAI, OpenAI

from bench.clients import checks as c
from bench.clients.checks import KEY, MODEL, URL, Seen, alike, check, raised, run, scripted
from bench.clients.shapes import Capitals, Circle, Drawing, Person


def client(mode: instructor.Mode = instructor.Mode.TOOLS) -> Any:
    return instructor.from_openai(OpenAI(base_url=URL, api_key=KEY), mode=mode)


def asked(text: str, kind: Any, mode: instructor.Mode = instructor.Mode.TOOLS, **more: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return client(mode).chat.completions.create(model=MODEL, messages=messages, response_model=kind, **more)


def a_person(mode: instructor.Mode) -> Seen:
    person = asked(c.PERSON, Person, mode)
    return person, isinstance(person, Person) and bool(person.address.city)


@check
def mode_tools() -> Seen:
    return a_person(instructor.Mode.TOOLS)


@check
def mode_tools_strict() -> Seen:
    return a_person(instructor.Mode.TOOLS_STRICT)


@check
def mode_json() -> Seen:
    return a_person(instructor.Mode.JSON)


@check
def mode_json_schema() -> Seen:
    return a_person(instructor.Mode.JSON_SCHEMA)


@check
def mode_responses_tools() -> Seen:
    return a_person(instructor.Mode.RESPONSES_TOOLS)


@check
def union() -> Seen:
    drawing = asked(c.CIRCLE, Drawing)
    return drawing, isinstance(drawing.shape, Circle)


@check
async def asynchronous() -> Seen:
    patched: Any = instructor.from_openai(AsyncOpenAI(base_url=URL, api_key=KEY))
    messages = [{"role": "user", "content": c.PERSON}]
    person = await patched.chat.completions.create(model=MODEL, messages=messages, response_model=Person)
    return person, isinstance(person, Person)


@check
def with_completion() -> Seen:
    messages = [{"role": "user", "content": c.PERSON}]
    person, completion = client().chat.completions.create_with_completion(
        model=MODEL, messages=messages, response_model=Person
    )
    return completion.usage, isinstance(person, Person) and completion.usage.total_tokens > 0


@scripted
def retries() -> Seen:
    capitals = asked(c.CAPITALS, Capitals, max_retries=3)
    return capitals, capitals.name == "ADA"


@scripted
def retries_json_schema() -> Seen:
    capitals = asked(c.CAPITALS, Capitals, instructor.Mode.JSON_SCHEMA, max_retries=3)
    return capitals, capitals.name == "ADA"


@check
def partials() -> Seen:
    messages = [{"role": "user", "content": c.PERSON}]
    found = list(client().chat.completions.create_partial(model=MODEL, messages=messages, response_model=Person))
    return (len(found), found[-1]), len(found) > 1 and bool(found[-1].name)


@check
def partials_json_schema() -> Seen:
    patched, messages = client(instructor.Mode.JSON_SCHEMA), [{"role": "user", "content": c.PERSON}]
    found = list(patched.chat.completions.create_partial(model=MODEL, messages=messages, response_model=Person))
    return (len(found), found[-1]), len(found) > 1 and bool(found[-1].name)


@scripted
def iterable() -> Seen:
    people = list(asked(c.PEOPLE, Iterable[Person]))
    return people, [person.name for person in people] == ["Ada", "Alan"]


@check
def plain_answer() -> Seen:
    answer = asked(c.HELLO, None)
    return answer.choices[0].message.content, alike(answer.choices[0].message.content, c.SAID_HELLO)


@check
def error_401() -> Seen:
    stranger: Any = instructor.from_openai(OpenAI(base_url=URL, api_key="nobody's key"))
    messages = [{"role": "user", "content": c.PERSON}]
    ask = lambda: stranger.chat.completions.create(model=MODEL, messages=messages, response_model=Person)  # noqa: E731
    seen, ok = raised(Exception, ask)
    return seen, ok and "401" in seen


if __name__ == "__main__":
    run()
